// @ts-check
/** The views of the atlas, in the order of the list. */
import { view as candidates } from "./candidates.js";
import { view as channel } from "./channel.js";
import { view as channels } from "./channels.js";
import { view as gains } from "./gains.js";
import { view as matrix } from "./matrix.js";
import { view as outliers } from "./outliers.js";
import { view as pairs } from "./pairs.js";
import { view as spectrum } from "./spectrum.js";
import { view as zero } from "./zero.js";

/**
 * What a view is given.
 * @typedef {object} Stage
 * @property {import("../ask.js").Ask} ask
 * @property {import("../selection.js").Selection} selection
 * @property {{ get: (name: string) => string | null, set: (name: string, value: string | null) => void }} options the view's own, in the address bar; setting one shows nothing anew
 * @property {(what: { name: string, title: string, words?: string, csv?: () => import("../card.js").Table, is_picture?: boolean }) => import("../card.js").Card} card
 * @property {(home: HTMLElement, options: Omit<Parameters<typeof import("../cloud.js").createCloud>[1], "selection">) => import("../cloud.js").Cloud} cloud
 */

/** @typedef {{ element: HTMLElement, show: () => void | Promise<void>, hide?: () => void, redraw?: () => void }} Shown `redraw` after another theme, where colours are not the style sheet's own */
/** @typedef {{ name: string, title: string, needs: ("wte" | "wpe" | "norms")[], create: (stage: Stage) => Shown }} View */

/** @type {View[]} */
export const VIEWS = [matrix, channels, pairs, gains, channel, spectrum, candidates, zero, outliers];
