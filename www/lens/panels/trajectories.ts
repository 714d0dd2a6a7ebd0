/** Trajectories: followed tokens over the rows or the positions, through the selected cell or each pinned one. */
import { codeOf } from "../../engine/errors.ts";
import { colourOf } from "../../graphics/series.ts";
import { decimal, integer, percent } from "../../lib/format.ts";
import { counterpart } from "../../reading/comparison.ts";
import { joined } from "../../reading/derived.ts";
import { NO_TOKEN, finalTap, tokenById, topId } from "../../reading/reading.ts";
import { defaultIds, linesFrom, measured } from "../../reading/trajectories.ts";
import { viewNamed } from "../../reading/views.ts";
import { chartLegend, dashLegend } from "../../ui/chart-legend.ts";
import { button, byId, element, onWidth, replaceKeyed } from "../../ui/dom.ts";
import { createFollowForm } from "./follow.ts";
import type { Engine } from "../../engine/client.ts";
import type { Comparison } from "../../reading/comparison.ts";
import type { Cell, PlainReading, Token, Track } from "../../reading/reading.ts";
import type { Along, Measure, Numbers } from "../../reading/trajectories.ts";
import type { Store } from "../../state/store.ts";
import type { Point } from "./charts.ts";

/** A pointer that passes over cells asks for nothing. */
const REST_MS = 120;

/** Tracks along the second text's positions, placed at those of the first text that they are compared with. */
function onFirst({ first, columns }: Comparison, tracks: Map<number, Track>) {
  return new Map(
    [...tracks].map(([id, track]) => {
      const placed = (values: Float32Array) => {
        const out = new Float32Array(first.n_tokens).fill(NaN);
        for (const [i, j] of columns) out[i] = values[j];
        return out;
      };
      return [id, { id, logit: placed(track.logit), logprob: placed(track.logprob), rank: placed(track.rank) }];
    }),
  );
}

/** One solid or dashed family of lines: a pinned cell's, or the second text's. */
type Family = { name: string; of: PlainReading; cell: Cell; tracks: Map<number, Track> };

export function createTrajectories({ store, engine }: { store: Store; engine: () => Engine }) {
  let reading: PlainReading | null = null;
  /** Tokens of the model in use that are in no top-k of the reading, by id. */
  const others: Map<number, Token> = new Map();
  let tracing = new AbortController();
  let rest: ReturnType<typeof setTimeout> | undefined;
  const measure = byId<HTMLSelectElement>("paths-measure");
  const along = byId<HTMLSelectElement>("paths-line");

  const tokenOf = (from: PlainReading, id: number) => others.get(id) ?? tokenById(from, id);
  const nameOf = (from: PlainReading, group: number[]) => group.map((id) => tokenOf(from, id).shown).join(" | ");
  const cellName = (of: PlainReading, { tap, position }: Cell) => `${of.taps[tap]}, position ${position}`;

  /** What is followed by itself: with several cells only what the final row puts first at each, so that lines can be told apart. */
  const idsFor = (of: PlainReading, cells: Cell[], way: Along) =>
    cells.length === 1
      ? defaultIds(of, cells[0], way)
      : [...new Set(cells.map(({ position }) => topId(of, { tap: finalTap(of), position })))].filter(
          (id) => id !== NO_TOKEN,
        );

  async function update() {
    clearTimeout(rest);
    tracing.abort();
    const at = store.cell.peek();
    if (!reading || !at) return;
    const { signal } = (tracing = new AbortController());
    const comparison = store.comparison.peek();
    const of = at.is_second && comparison ? comparison.second : reading;
    const pins = store.pins.peek();
    const cells: Cell[] = pins.length > 0 ? pins : [at];
    const groups = store.groups.peek();
    const way = along.value as Along;
    const mine = idsFor(of, cells, way);
    const ids = [...new Set([...groups.flat(), ...mine])];
    showFollowed(of);
    try {
      await learn(groups.flat());
      const trace = async (from: PlainReading, { tap, position }: Cell) => {
        const tracks = await engine().trace(from.serial, ids, way === "taps" ? { position } : { tap }, signal);
        return new Map(tracks.map((track) => [track.id, track]));
      };
      const families: Family[] = [];
      for (const cell of cells) families.push({ name: cellName(of, cell), of, cell, tracks: await trace(of, cell) });
      // Of several cells the second text's lines would be too many.
      const other = comparison?.first === of && cells.length === 1 ? counterpart(comparison, at) : null;
      if (comparison && other) {
        const tracks = await trace(comparison.second, other);
        families.push({
          name: "second text",
          of,
          cell: at,
          tracks: way === "taps" ? tracks : onFirst(comparison, tracks),
        });
      }
      if (signal.aborted) return;
      showFollowed(of);
      await showPaths(of, families, way, mine, signal);
    } catch (error) {
      if (!signal.aborted && codeOf(error) !== "aborted") byId("paths-note").textContent = (error as Error).message;
    }
  }

  /** Gets to know tokens that the reading does not name. */
  async function learn(ids: number[]) {
    const [unknown, of] = [ids.filter((id) => !others.has(id)), reading];
    if (unknown.length === 0) return;
    const tokens = await engine().tokens(unknown);
    // Those of a model that is no longer in use are not told apart from others by their ids.
    if (reading?.model === of?.model) for (const token of tokens) others.set(token.id, token);
  }

  function showFollowed(of: PlainReading) {
    const [groups, tracked, view] = [store.groups.peek(), store.tracked.peek(), store.view.peek()];
    replaceKeyed(
      byId("followed"),
      ...groups.map((group, i) => {
        const name = nameOf(of, group);
        const show = button("", name, () =>
          store.change({ tracked: i, ...(view.is_tracked ? {} : { view: viewNamed("tracked_rank") }) }, true),
        );
        show.title = "show it in the heatmap";
        show.dataset.key = `show ${group.join()}`;
        const drop = button("", "×", () => store.unfollow(i));
        drop.setAttribute("aria-label", `stop following ${name}`);
        drop.dataset.key = `drop ${group.join()}`;
        return element("li", view.is_tracked && tracked === i ? "chosen" : "", show, drop);
      }),
    );
  }

  async function showPaths(of: PlainReading, families: Family[], way: Along, mine: number[], signal: AbortSignal) {
    const charts = await import("./charts.ts");
    if (signal.aborted) return;
    const what = measure.value as Measure;
    const groups = store.groups.peek();
    const { lines, n_left_out } = linesFrom(families[0].tracks, groups, mine);
    const is_taps = way === "taps";
    const xs = is_taps ? of.taps.map((_, tap) => tap) : of.tokens.map((_, position) => position);
    const xTick = (x: number) => (is_taps ? of.taps[x] : String(x));
    const pointsOf = (ids: number[], track: Numbers, series: number, dash: number): Point[] =>
      xs.map((x) => ({
        x,
        y: measured(what, track, x),
        series,
        dash,
        title: `${nameOf(of, ids)}${families.length > 1 && dash > 0 ? `, ${families[dash].name},` : ""} at ${is_taps ? of.taps[x] : `position ${x}`}: rank ${integer(track.rank[x])}, ${percent(Math.exp(track.logprob[x]))}, logit ${decimal(track.logit[x])}`,
      }));
    const points = lines.flatMap(({ ids }, series) =>
      families.flatMap(({ tracks }, dash) =>
        ids.every((id) => tracks.has(id))
          ? pointsOf(ids, joined(ids.map((id) => tracks.get(id) as Track)), series, dash)
          : [],
      ),
    );
    const box = byId("paths-chart");
    const [{ cell }] = families;
    const are_pins = families.length > 1 && families[1].name !== "second text";
    const where = is_taps ? `position ${cell.position}` : `row ${of.taps[cell.tap]}`;
    const axis = {
      width: Math.max(260, box.clientWidth || 360),
      xs,
      xTick,
      x_label: `${is_taps ? "rows" : "positions"} at ${are_pins ? "the pinned cells" : where}`,
    };
    box.replaceChildren(
      charts.pathsChart(points, what, axis, are_pins ? null : is_taps ? cell.tap : cell.position),
      chartLegend(
        lines.map(({ ids }, series) => ({ css: colourOf(series), name: element("span", "token", nameOf(of, ids)) })),
      ),
      ...(families.length > 1 ? [dashLegend(families.map(({ name }) => name))] : []),
    );
    byId("paths-note").textContent = [
      groups.length > 0
        ? ""
        : are_pins
          ? "What the final row puts first at the pinned positions."
          : `Tokens that are top-1 in some ${is_taps ? "row of this position" : "position of this row"}.`,
      n_left_out > 0 ? `${n_left_out} less likely ones are left out.` : "",
      store.comparison.peek() && are_pins ? "The second text is left out." : "",
      families.length > 1 && !are_pins
        ? `Dashed: the second text${is_taps ? "" : ", at the positions that are compared"}.`
        : "",
    ]
      .filter(Boolean)
      .join(" ");
  }

  createFollowForm(
    {
      form: byId<HTMLFormElement>("follow"),
      input: byId<HTMLInputElement>("follow-text"),
      problem: byId("follow-problem"),
    },
    { store, engine },
  );
  for (const select of [measure, along]) select.addEventListener("change", () => void update());
  onWidth(byId("paths-chart"), () => void update(), true);

  return {
    /** @param is_passing the pointer may move on at once */
    draw(is_passing = false) {
      const of = store.reading.peek();
      // The next reading may be of a model with another vocabulary.
      if (of?.model !== reading?.model) others.clear();
      reading = of;
      clearTimeout(rest);
      if (!of) return tracing.abort();
      if (is_passing) rest = setTimeout(() => void update(), REST_MS);
      else void update();
    },
  };
}
