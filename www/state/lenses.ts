/** What the page says of the lenses that are open. */
import type { LensEntry } from "../engine/protocol.ts";

/** Whether it is a fit of the input, which no reading uses. */
export const isProbe = ({ card }: LensEntry) => card.target === "input";

/** A lens as it is shown: the name of the logit lens is empty. */
export const lensWords = (name: string) => name || "logit lens";
