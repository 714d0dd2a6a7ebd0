/** The panel of the selected cell: its numbers, its likeliest tokens, and what it is pinned by. */
import { codeOf } from "../../engine/errors.ts";
import { decimal, integer, percent } from "../../lib/format.ts";
import { counterpart } from "../../reading/comparison.ts";
import { candidates, finalTap, guessIsRight, isSameCell, nextToken, textOf } from "../../reading/reading.ts";
import { rankChange } from "../../reading/trajectories.ts";
import { spanOf } from "../../state/options.ts";
import { button, byId, element, replaceKeyed } from "../../ui/dom.ts";
import { factsOf } from "../figure/cell-facts.ts";
import type { Engine } from "../../engine/client.ts";
import type { Cell, PlainReading, Token, Track } from "../../reading/reading.ts";
import type { PointedCell, Store } from "../../state/store.ts";
import type { Shown } from "../figure/frame.ts";

const CONTEXT_TOKENS = 9;
const N_CANDIDATES = 10;
/** Of the second text. */
const N_OTHERS = 5;

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

/** A line of the list, whose places are always the same, so that moving over cells moves nothing else. */
function createLine(place: number, onFollow: (id: number) => void) {
  let id = 0;
  const name = button("token-button token", "", () => onFollow(id));
  const fill = element("span", "candidate-fill");
  const bar = element("span", "candidate-bar", fill);
  bar.setAttribute("aria-hidden", "true");
  const [probability, logit] = [element("span", "candidate-number"), element("span", "candidate-number muted")];
  [probability.title, logit.title] = ["probability", "logit"];
  const item = element(
    "li",
    "candidate",
    element("span", "candidate-place", String(place)),
    name,
    bar,
    probability,
    logit,
  );
  return {
    item,
    show(found: { token: Token; logit: number; probability: number } | undefined, is_next: boolean) {
      item.hidden = !found;
      if (!found) return;
      ({ id } = found.token);
      name.textContent = found.token.shown;
      name.title = `id ${id}; follow it over the rows`;
      name.classList.toggle("right", is_next);
      fill.style.width = `${found.probability * 100}%`;
      probability.textContent = percent(found.probability);
      logit.textContent = decimal(found.logit);
    },
  };
}

export function createCellPanel({
  store,
  engine,
  shownOf,
}: {
  store: Store;
  engine: () => Engine;
  /** the picture that a cell is in */
  shownOf: (cell: PointedCell) => Shown | null;
}) {
  let tracing = new AbortController();
  const panel = byId("cell-panel");
  const all = byId<HTMLDetailsElement>("cell-all");
  const followToken = (id: number) => store.follow([id]);
  const lines = Array.from({ length: N_CANDIDATES }, (_, i) => createLine(i + 1, followToken));
  byId("candidates").replaceChildren(...lines.map(({ item }) => item));

  function showHead({ reading: of, comparison }: Shown, at: PointedCell) {
    const { tap, position } = at;
    const pins = store.pins.peek();
    const row = of.taps[tap] + (tap === finalTap(of) ? " (final)" : "");
    const { start, end } = spanOf(at.is_second ? null : store.span.peek(), of.n_tokens);
    const outside = position < start || position >= end ? " (outside the window)" : "";
    byId("cell-title").textContent =
      `${pins.length > 0 ? "Pinned: " : at.is_second ? "Second text: " : ""}${row}, position ${position}${outside}`;
    const tokens = of.tokens.slice(Math.max(0, position - CONTEXT_TOKENS), position + 1);
    // Without a tokenizer tokens have no text.
    const before = textOf(tokens) || tokens.map(({ shown }) => shown).join(" ");
    const next = nextToken(of, position);
    const other = comparison && counterpart(comparison, at);
    byId("cell-context").textContent = [
      `after “${position > CONTEXT_TOKENS ? "…" : ""}${before}”`,
      next ? `true next ${guessIsRight(of, position) ? "* " : ""}${next.shown}` : "end of the text",
      !comparison
        ? ""
        : other
          ? `compared with position ${other.position} of the second text`
          : "not compared: the second text has no such token there",
    ]
      .filter(Boolean)
      .join(" · ");
    const pin = byId("cell-pin");
    pin.textContent = pins.length > 1 ? "Unpin all" : pins.length > 0 ? "Unpin" : "Pin";
    pin.hidden = at.is_second;
    replaceKeyed(
      byId("pins"),
      ...(pins.length < 2 ? [] : pins).map((each, i) => {
        const name = `${of.taps[each.tap]} · ${each.position}`;
        const show = button("", name, () => store.selectPin(each));
        show.dataset.key = `show ${name}`;
        const drop = button("", "×", () => store.togglePin(each, true));
        drop.setAttribute("aria-label", `unpin ${name}`);
        drop.dataset.key = `drop ${name}`;
        return element("li", `dash-${i}${isSameCell(each, at) ? " chosen" : ""}`, show, drop);
      }),
    );
  }

  function showNumbers(shown: Shown, at: Cell) {
    const { reading, comparison } = shown;
    byId("cell-facts").replaceChildren(
      ...factsOf(shown, at).map(({ label, unit, text }) =>
        element(
          "div",
          "fact",
          // Two numbers leave no room for the unit beside them.
          element("dt", "", text.includes("→") && unit ? `${label}, ${unit}` : label),
          element(
            "dd",
            "",
            element("span", "fact-value", text),
            unit && text !== "–" && !text.includes("→") ? ` ${unit}` : "",
          ),
        ),
      ),
    );
    const best = candidates(reading, at);
    const next = nextToken(reading, at.position);
    lines.forEach((line, i) => line.show(best[i], best[i]?.token.id === next?.id));
    byId("cell-brief").textContent = best[0] ? `${best[0].token.shown} ${percent(best[0].probability)}` : "NaN";
    byId("cell-not-finite").hidden = best.length > 0;
    const other = comparison && counterpart(comparison, at);
    byId("cell-second").hidden = !other;
    if (other)
      byId("cell-second").textContent = `Second text: ${candidates(comparison.second, other)
        .slice(0, N_OTHERS)
        .map(({ token, probability }) => `${token.shown} ${percent(probability)}`)
        .join(" · ")}`;
  }

  /** The table of all candidates, while it is open; what has to be traced comes a moment later. */
  async function showAll({ reading: of, comparison }: Shown, at: Cell) {
    tracing.abort();
    if (!all.open) return;
    const { signal } = (tracing = new AbortController());
    byId("cell-problem").textContent = "";
    showTable(of, at, null, null);
    const other = comparison && counterpart(comparison, at);
    const ids = candidates(of, at).map(({ token }) => token.id);
    const trace = async (from: PlainReading, position: number) =>
      new Map((await engine().trace(from.serial, ids, { position }, signal)).map((track) => [track.id, track]));
    try {
      const column = await trace(of, at.position);
      const other_column = other ? await trace(comparison.second, other.position) : null;
      if (!signal.aborted) showTable(of, at, column, other_column);
    } catch (error) {
      if (!signal.aborted && codeOf(error) !== "aborted") byId("cell-problem").textContent = (error as Error).message;
    }
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
    const rows = listed.map(({ token, logit, probability }) => {
      const follow = button("token-button token", token.shown, () => followToken(token.id));
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

  function draw() {
    const at = store.cell.peek();
    const shown = at && shownOf(at);
    panel.hidden = !shown;
    if (!shown) return tracing.abort();
    showHead(shown, at);
    showNumbers(shown, at);
    void showAll(shown, at);
  }

  byId("cell-pin").addEventListener("click", () => {
    const at = store.cell.peek();
    if (store.pins.peek().length > 0) store.unpin();
    else if (at) store.togglePin(at);
  });
  all.addEventListener("toggle", draw);
  const expand = byId("cell-expand");
  expand.addEventListener("click", () => {
    const is_open = panel.classList.toggle("is-open");
    expand.setAttribute("aria-expanded", String(is_open));
  });

  return { draw };
}
