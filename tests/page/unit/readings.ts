/** Readings made up for the tests of the page's pure modules: every number is known. */
import { STATS } from "../../../www/reading/reading.ts";
import type { PlainReading } from "../../../www/reading/reading.ts";

const token = (shown: string, id = 0) => ({
  id,
  text: shown.replaceAll("␣", " "),
  bytes: new TextEncoder().encode(shown.replaceAll("␣", " ")),
  shown,
});

export const VOCABULARY = ["␣the", "␣old", "␣king", ",", "␣sat", "‹E2›", "␣down", "<b>", "=cmd", "."].map(token);

export function madeUp({
  taps,
  ids,
  tops,
  stat = () => 0,
}: {
  taps: string[];
  /** of the text */
  ids: number[];
  /** the likeliest ids of a cell, best first */
  tops: (tap: number, position: number) => number[];
  stat?: (name: string, tap: number, position: number) => number;
}): PlainReading {
  const n_tokens = ids.length;
  const cells = taps.flatMap((_, tap) => ids.map((_, position) => ({ tap, position })));
  const all = cells.map(({ tap, position }) => tops(tap, position));
  const top_k = all[0].length;
  return {
    taps,
    n_tokens,
    top_k,
    tokens: ids.map((id) => ({ ...VOCABULARY[id], id })),
    top_tokens: VOCABULARY.map((each, id) => ({ ...each, id })),
    top_ids: Uint32Array.from(all.flat()),
    top_logits: Float32Array.from(all.flatMap((ids) => ids.map((_, i) => 5 - i))),
    stats: Object.fromEntries(
      STATS.map((name) => [name, Float32Array.from(cells, ({ tap, position }) => stat(name, tap, position))]),
    ),
    final_is_model: true,
    not_finite: [],
    tracked: {},
    tracked_tokens: [],
    model: null,
    asked: { norm: "affine", subblocks: false, contributions: false, decoder: [] },
    serial: 0,
    read_ms: 1,
    n_text: n_tokens,
    n_read: n_tokens,
    kept: "first",
  };
}
