/** The strip under the heatmap: everything about one cell, always in the same places, so that nothing jumps. */
import { element } from "../../ui/dom.ts";
import { decimal, percent, rank } from "../../lib/format.ts";
import { counterpart, divergenceAt, statsAt, targetAt } from "../../reading/comparison.ts";
import { candidates, finalTap, guessIsRight, nextToken, statAt, topToken } from "../../reading/reading.ts";
import { numberIn } from "../../reading/views.ts";
import type { Cell, PlainReading } from "../../reading/reading.ts";
import type { Comparison } from "../../reading/comparison.ts";
import type { Shown } from "./frame.ts";

const N_CANDIDATES = 10;
/** Of the second text. */
const N_OTHERS = 5;

/**
 * What is said of a cell. `value` is of one text; `values` of both, where the token that a rank is of is the first
 * text's.
 */
const FACTS: {
  label: string;
  unit: string;
  value?: (reading: PlainReading, cell: Cell) => string;
  values: (comparison: Comparison, cell: Cell) => [string, string] | string;
}[] = [
  {
    label: "rank of final top-1",
    unit: "",
    value: (reading, cell) => rank(statAt(reading, "rank_final", cell)),
    values: (comparison, cell) => both(targetAt(comparison, "top", "rank", cell), rank),
  },
  {
    label: "rank of input token",
    unit: "",
    value: (reading, cell) => rank(statAt(reading, "rank_input", cell)),
    values: (comparison, cell) => both(statsAt(comparison, "rank_input", cell), rank),
  },
  {
    label: "rank of true next",
    unit: "",
    value: (reading, cell) => rank(statAt(reading, "rank_next", cell)),
    values: (comparison, cell) => both(targetAt(comparison, "next", "rank", cell), rank),
  },
  {
    label: "KL(final‖row)",
    unit: "nats",
    value: (reading, cell) => decimal(statAt(reading, "kl_final", cell)),
    values: (comparison, cell) => both(statsAt(comparison, "kl_final", cell), decimal),
  },
  {
    label: "entropy",
    unit: "nats",
    value: (reading, cell) => decimal(statAt(reading, "entropy", cell)),
    values: (comparison, cell) => both(statsAt(comparison, "entropy", cell), decimal),
  },
  {
    label: "KL(first‖second)",
    unit: "nats",
    values: (comparison, cell) => decimal(divergenceAt(comparison, "kl", cell)),
  },
  {
    label: "Jensen–Shannon",
    unit: "nats",
    values: (comparison, cell) => decimal(divergenceAt(comparison, "js", cell)),
  },
];

const both = ([first, second]: [number, number], format: (value: number) => string): [string, string] => [
  format(first),
  format(second),
];

/** Builds the strip once and returns what fills it. */
export function createReadout(root: HTMLElement) {
  const row = element("strong", "strip-row");
  const position = element("span", "");
  const token = element("span", "token");
  const next = element("span", "token");
  const next_label = element("span", "muted");
  const hint = element("span", "strip-hint");
  const others = element("p", "strip-second muted");
  const drawn_label = element("dt", "");
  const drawn = element("span", "fact-value");
  const drawn_item = element("div", "fact", drawn_label, element("dd", "", drawn));
  const facts = FACTS.map(({ label, unit }) => {
    const value = element("span", "fact-value");
    return {
      value,
      item: element(
        "div",
        "fact",
        element("dt", "", label),
        element("dd", "", value, unit && element("span", "unit", ` ${unit}`)),
      ),
    };
  });
  const lines = Array.from({ length: N_CANDIDATES }, (_, i) => {
    const parts = {
      text: element("span", "token candidate-token"),
      bar: element("span", "candidate-fill"),
      probability: element("span", "candidate-number"),
      logit: element("span", "candidate-number candidate-logit"),
    };
    parts.probability.title = "probability";
    parts.logit.title = "logit";
    const bar = element("span", "candidate-bar", parts.bar);
    bar.setAttribute("aria-hidden", "true");
    return {
      ...parts,
      item: element(
        "li",
        "candidate",
        element("span", "candidate-place", String(i + 1)),
        parts.text,
        bar,
        parts.probability,
        parts.logit,
      ),
    };
  });

  root.replaceChildren(
    element(
      "div",
      "strip-head",
      element("span", "strip-what", row, " · ", position, " · token ", token),
      element("span", "strip-next", next_label, " ", next),
      hint,
    ),
    element(
      "div",
      "strip-body",
      element("dl", "facts", drawn_item, ...facts.map(({ item }) => item)),
      element("div", "candidates-box", element("ol", "candidates", ...lines.map(({ item }) => item)), others),
    ),
  );

  return (shown: Shown, cell: Cell, pinned: boolean, is_second: boolean) => {
    const { reading, comparison } = shown;
    const other = comparison && counterpart(comparison, cell);
    root.hidden = false;
    root.classList.toggle("pinned", pinned);
    row.textContent = reading.taps[cell.tap] + (cell.tap === finalTap(reading) ? " (final)" : "");
    position.textContent = `${is_second ? "second text, " : ""}position ${cell.position}${other ? ` (${other.position} in the second text)` : comparison ? ", not compared" : ""}`;
    token.textContent = reading.tokens[cell.position].shown;
    const true_next = nextToken(reading, cell.position);
    const right = guessIsRight(reading, cell.position);
    next_label.textContent = true_next ? "true next" : "end of the text";
    next.textContent = true_next ? `${right ? "* " : ""}${true_next.shown}` : "";
    next.classList.toggle("right", right);
    hint.textContent = pinned ? "pinned · Esc or a second click unpins" : "click pins · arrow keys move";
    drawn_item.hidden = !comparison;
    if (comparison) {
      drawn_label.textContent = shown.view.between
        ? "shown"
        : shown.view.kind === "ratio"
          ? "shown: second ÷ first"
          : "shown: second − first";
      drawn.textContent = numberIn(shown.view, shown.values[cell.tap * reading.n_tokens + cell.position]);
    }
    facts.forEach(({ value, item }, i) => {
      const fact = FACTS[i];
      const said = other ? fact.values(comparison, cell) : fact.value?.(reading, cell);
      item.hidden = said === undefined;
      value.textContent = Array.isArray(said) ? said.join(" → ") : (said ?? "");
    });
    others.hidden = !other;
    if (other)
      others.textContent = `Second text: ${candidates(comparison.second, other)
        .slice(0, N_OTHERS)
        .map(({ token, probability }) => `${token.shown} ${percent(probability)}`)
        .join(" · ")}`;
    const best = candidates(reading, cell);
    lines.forEach((line, i) => {
      const candidate = best[i];
      line.text.textContent = candidate?.token.shown ?? (i === 0 ? "NaN" : "");
      line.text.title = candidate ? `id ${candidate.token.id}` : "";
      line.text.classList.toggle("right", candidate !== undefined && candidate.token.id === true_next?.id);
      line.bar.style.width = `${(candidate?.probability ?? 0) * 100}%`;
      line.probability.textContent = candidate ? percent(candidate.probability) : "";
      line.logit.textContent = candidate ? decimal(candidate.logit) : "";
    });
  };
}

/** The cell in one sentence, for a screen reader. */
export function spokenCell({ reading, comparison, view, values }: Shown, cell: Cell, pinned: boolean) {
  const other = comparison && counterpart(comparison, cell);
  const second = other
    ? `; second text: top-1 ${topToken(comparison.second, other).shown}; ${view.quantity} ${numberIn(view, values[cell.tap * reading.n_tokens + cell.position])}`
    : comparison
      ? "; not compared"
      : "";
  return (
    `${reading.taps[cell.tap]}, position ${cell.position}, token ${reading.tokens[cell.position].shown}: ` +
    `top-1 ${topToken(reading, cell).shown}, ${percent(candidates(reading, cell)[0]?.probability ?? NaN)}, ` +
    `rank of final ${rank(statAt(reading, "rank_final", cell))}${second}${pinned ? ", pinned" : ""}`
  );
}
