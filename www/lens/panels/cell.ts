/** Reading deeper into one cell: its twenty likeliest tokens, and trajectories through it. */
import { counterpart } from "../../reading/comparison.ts";
import { button, byId, element, onWidth, replaceKeyed } from "../../ui/dom.ts";
import { decimal, integer, percent } from "../../lib/format.ts";
import { defaultIds, linesFrom, measured, rankChange } from "../../reading/trajectories.ts";
import { joined } from "../../reading/derived.ts";
import { candidates, finalTap, textOf, tokenById } from "../../reading/reading.ts";
import { colourOf } from "../../graphics/series.ts";
import { chartLegend } from "../../ui/chart-legend.ts";
import { codeOf } from "../../engine/errors.ts";
import { spanOf } from "../../state/options.ts";
import { viewNamed } from "../../reading/views.ts";
import type { Store } from "../../state/store.ts";
import type { Engine } from "../../engine/client.ts";
import type { Along, Measure, Numbers } from "../../reading/trajectories.ts";
import type { Cell, PlainReading, Token, Track } from "../../reading/reading.ts";
import type { Comparison } from "../../reading/comparison.ts";

const CONTEXT_TOKENS = 9;

const bytesOf = ({ bytes }: Token) =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0").toUpperCase()).join(" ");

/** A change of rank with an arrow, a word for those who hear it. */
function changeCell(change: number) {
  const cell = element("td", change > 0 ? "up" : change < 0 ? "down" : "");
  if (Number.isNaN(change)) cell.textContent = "–";
  else if (change === 0) cell.textContent = "=";
  else cell.append(element("span", "", change > 0 ? "↑" : "↓"), integer(Math.abs(change)));
  return cell;
}

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

export function createCellPanel(page: { store: Store; engine: () => Engine }) {
  const { store } = page;
  let reading: PlainReading | null = null;
  let cell: Cell = { tap: 0, position: 0 };
  let is_pinned = false;
  /** Tokens of the model in use that are in no top-k of the reading, by id. */
  const others: Map<number, Token> = new Map();
  let tracing = new AbortController();
  const measure = byId<HTMLSelectElement>("paths-measure");
  const along = byId<HTMLSelectElement>("paths-line");

  const tokenOf = (from: PlainReading, id: number) => others.get(id) ?? tokenById(from, id);
  const nameOf = (from: PlainReading, group: number[]) => group.map((id) => tokenOf(from, id).shown).join(" | ");

  /** Draws the panel; what has to be traced comes a moment later. */
  async function update() {
    if (!reading) return;
    tracing.abort();
    const { signal } = (tracing = new AbortController());
    const [of, at] = [reading, cell];
    const comparison = store.comparison.peek();
    const other = comparison?.first === of ? counterpart(comparison, at) : null;
    showHead(of, at, comparison, other);
    showTable(of, at, null, null);
    showFollowed(of);
    const groups = store.groups.peek();
    const way = along.value as Along;
    const mine = defaultIds(of, at, way);
    const listed = candidates(of, at).map(({ token }) => token.id);
    try {
      await learn(groups.flat());
      const trace = async (from: PlainReading, ids: number[], line: { position: number } | { tap: number }) =>
        new Map(
          (await page.engine().trace(from.serial, [...new Set(ids)], line, signal)).map((track) => [track.id, track]),
        );
      const followed = [...groups.flat(), ...mine];
      const in_column = [...listed, ...(way === "taps" ? followed : [])];
      const column = await trace(of, in_column, { position: at.position });
      const other_column =
        comparison && other ? await trace(comparison.second, in_column, { position: other.position }) : null;
      if (signal.aborted) return;
      showTable(of, at, column, other_column);
      const tracks = way === "taps" ? column : await trace(of, followed, { tap: at.tap });
      const second =
        way === "taps"
          ? other_column
          : comparison
            ? onFirst(comparison, await trace(comparison.second, followed, { tap: at.tap }))
            : null;
      if (signal.aborted) return;
      showFollowed(of);
      await showPaths(of, at, way, { tracks, second }, mine, signal);
    } catch (error) {
      if (!signal.aborted && codeOf(error) !== "aborted") byId("paths-note").textContent = (error as Error).message;
    }
  }

  /** Gets to know tokens that the reading does not name. */
  async function learn(ids: number[]) {
    const [unknown, of] = [ids.filter((id) => !others.has(id)), reading];
    if (unknown.length === 0) return;
    const tokens = await page.engine().tokens(unknown);
    // Those of a model that is no longer in use are not told apart from others by their ids.
    if (reading?.model === of?.model) for (const token of tokens) others.set(token.id, token);
  }

  function showTitle(of: PlainReading, { tap, position }: Cell) {
    const row = of.taps[tap] + (tap === finalTap(of) ? " (final)" : "");
    const { start, end } = spanOf(store.span.peek(), of.n_tokens);
    const words = position < start || position >= end ? " (outside the window)" : "";
    byId("cell-title").textContent =
      `${is_pinned ? "Pinned: " : "Final prediction: "}${row}, position ${position}${words}`;
  }

  /** @param other the cell's counterpart */
  function showHead(of: PlainReading, at: Cell, comparison: Comparison | null, other: Cell | null) {
    showTitle(of, at);
    const before = textOf(of.tokens.slice(Math.max(0, at.position - CONTEXT_TOKENS), at.position + 1));
    const context = `after “${at.position > CONTEXT_TOKENS ? "…" : ""}${before}”`;
    const second = !comparison
      ? ""
      : other
        ? ` · compared with position ${other.position} of the second text`
        : " · not compared: the second text has no such token there";
    byId("cell-context").textContent = `${context}${second}${is_pinned ? "" : " · click a cell to pin it here"}`;
  }

  /** @param second the same tokens at the cell's counterpart */
  function showTable(of: PlainReading, at: Cell, column: Map<number, Track> | null, second: Map<number, Track> | null) {
    const heads = [
      ["token", ""],
      ["id", ""],
      ["bytes", "left"],
      ["prob.", ""],
      ...(second ? [["2nd text", ""]] : [["log p", ""]]),
      ["logit", ""],
      ["Δ rank", ""],
    ];
    const head = element(
      "tr",
      "",
      ...heads.map(([name, place]) => {
        const cell = element("th", place, name);
        cell.scope = "col";
        if (name === "Δ rank") cell.title = "change of rank against the row below";
        if (name === "2nd text") cell.title = "probability of the same token in the second text";
        return cell;
      }),
    );
    const listed = candidates(of, at);
    if (listed.length === 0) {
      const words =
        "The logits of this cell are not finite: an activation of the model is too large for single precision.";
      return byId("cell-table").replaceChildren(element("caption", "", words));
    }
    const rows = listed.map(({ token, logit, probability }) => {
      const follow = button("token-button token", token.shown, () => store.follow([token.id]));
      follow.title = `follow ${token.shown} (${bytesOf(token)})`;
      follow.dataset.key = String(token.id);
      const track = column?.get(token.id);
      return element(
        "tr",
        "",
        element("td", "token", follow),
        element("td", "muted", String(token.id)),
        element("td", "bytes", bytesOf(token)),
        element("td", "", percent(probability)),
        second
          ? element("td", "", percent(Math.exp(second.get(token.id)?.logprob[at.tap] ?? NaN)))
          : element("td", "muted", decimal(Math.log(probability))),
        element("td", "muted", decimal(logit)),
        track && !of.asked.contributions ? changeCell(rankChange(track, at.tap)) : element("td", "", ""),
      );
    });
    replaceKeyed(byId("cell-table"), element("thead", "", head), element("tbody", "", ...rows));
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

  /** @param traced in this reading, and in the second text's */
  async function showPaths(
    of: PlainReading,
    at: Cell,
    way: Along,
    { tracks, second }: { tracks: Map<number, Track>; second: Map<number, Track> | null },
    mine: number[],
    signal: AbortSignal,
  ) {
    const charts = await import("./charts.ts");
    if (signal.aborted) return;
    const what = measure.value as Measure;
    const { lines, n_left_out } = linesFrom(tracks, store.groups.peek(), mine);
    const is_taps = way === "taps";
    const xs = is_taps ? of.taps.map((_, tap) => tap) : of.tokens.map((_, position) => position);
    const xTick = (x: number) => (is_taps ? of.taps[x] : String(x));
    const pointsOf = (ids: number[], track: Numbers, series: number, dashed: boolean) =>
      xs.map((x) => ({
        x,
        y: measured(what, track, x),
        series,
        dashed,
        title: `${nameOf(of, ids)}${dashed ? ", second text," : ""} at ${is_taps ? of.taps[x] : `position ${x}`}: rank ${integer(track.rank[x])}, ${percent(Math.exp(track.logprob[x]))}, logit ${decimal(track.logit[x])}`,
      }));
    const points = lines.flatMap(({ ids, track }, series) => [
      ...pointsOf(ids, track, series, false),
      ...(second && ids.every((id) => second.has(id))
        ? pointsOf(ids, joined(ids.map((id) => second.get(id) as Track)), series, true)
        : []),
    ]);
    const box = byId("paths-chart");
    const axis = {
      width: Math.max(260, box.clientWidth || 360),
      xs,
      xTick,
      x_label: is_taps ? `rows at position ${at.position}` : `positions at row ${of.taps[at.tap]}`,
    };
    const legend = chartLegend(
      lines.map(({ ids }, series) => ({ css: colourOf(series), name: element("span", "token", nameOf(of, ids)) })),
    );
    box.replaceChildren(charts.pathsChart(points, what, axis, is_taps ? at.tap : at.position), legend);
    byId("paths-note").textContent = [
      store.groups.peek().length === 0
        ? `Tokens that are top-1 in some ${is_taps ? "row of this position" : "position of this row"}.`
        : "",
      n_left_out > 0 ? `${n_left_out} less likely ones are left out.` : "",
      second ? `Dashed: the second text${is_taps ? "" : ", at the positions that are compared"}.` : "",
    ]
      .filter(Boolean)
      .join(" ");
  }

  byId("follow").addEventListener("submit", async (event) => {
    event.preventDefault();
    const input = byId<HTMLInputElement>("follow-text");
    const say = (words: string) => void (byId("follow-problem").textContent = words);
    say("");
    if (input.value === "") return;
    try {
      const group = [];
      for (const piece of input.value.split("|").filter(Boolean)) {
        const [, id] = /^#(\d{1,9})$/.exec(piece) ?? [];
        const tokens = id === undefined ? await page.engine().encode(piece) : await page.engine().tokens([Number(id)]);
        if (tokens.length !== 1)
          return say(
            `“${piece}” is ${tokens.length} tokens (${tokens.map(({ shown }) => shown).join(" ")}): follow one of them, or several with | between them.`,
          );
        others.set(tokens[0].id, tokens[0]);
        group.push(tokens[0].id);
      }
      input.value = "";
      store.follow([...new Set(group)]);
    } catch (error) {
      say((error as Error).message);
    }
  });
  for (const select of [measure, along]) select.addEventListener("change", () => void update());
  onWidth(byId("paths-chart"), () => void update(), true);

  return {
    /** Draws what is pinned; until something is, the last guess. */
    draw() {
      const [of, pin] = [store.reading.peek(), store.pin.peek()];
      // The next reading may be of a model with another vocabulary.
      if (of?.model !== reading?.model) others.clear();
      reading = of;
      is_pinned = pin !== null;
      if (!of) return tracing.abort();
      cell = pin ?? { tap: finalTap(of), position: of.n_tokens - 1 };
      void update();
    },
    /** Says again which cell it is, for another window. */
    drawTitle: () => reading && showTitle(reading, cell),
  };
}
