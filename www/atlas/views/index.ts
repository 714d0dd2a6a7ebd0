/** The views of the atlas, in the order of the list. */
import { view as candidates } from "./candidates.ts";
import { view as channel } from "./channel.ts";
import { view as channels } from "./channels.ts";
import { view as gains } from "./gains.ts";
import { view as matrix } from "./matrix.ts";
import { view as outliers } from "./outliers.ts";
import { view as pairs } from "./pairs.ts";
import { view as spectrum } from "./spectrum.ts";
import { view as zero } from "./zero.ts";
import type { View } from "../types.ts";

export const VIEWS: View[] = [matrix, channels, pairs, gains, channel, spectrum, candidates, zero, outliers];
