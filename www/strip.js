// @ts-check
/** The strip under the heatmap: everything about one cell, always in the same places, so that nothing jumps. */
import { element } from "./dom.js";
import { decimal, percent, rank } from "./format.js";
import { candidates, finalTap, guessIsRight, nextToken, statAt, topToken } from "./reading.js";

/** @typedef {import("./reading.js").PlainReading} PlainReading */
/** @typedef {import("./reading.js").Cell} Cell */

const N_CANDIDATES = 10;

/** @type {{ label: string, unit: string, value: (reading: PlainReading, cell: Cell) => string }[]} */
const FACTS = [
  { label: "rank of final top-1", unit: "", value: (reading, cell) => rank(statAt(reading, "rank_final", cell)) },
  { label: "rank of input token", unit: "", value: (reading, cell) => rank(statAt(reading, "rank_input", cell)) },
  { label: "rank of true next", unit: "", value: (reading, cell) => rank(statAt(reading, "rank_next", cell)) },
  { label: "KL(final‖row)", unit: "nats", value: (reading, cell) => decimal(statAt(reading, "kl_final", cell)) },
  { label: "entropy", unit: "nats", value: (reading, cell) => decimal(statAt(reading, "entropy", cell)) },
];

/**
 * Builds the strip once and returns what fills it.
 * @param {HTMLElement} root
 */
export function createStrip(root) {
  const row = element("strong", "strip-row");
  const position = element("span", "");
  const token = element("span", "token");
  const next = element("span", "token");
  const next_label = element("span", "muted");
  const hint = element("span", "strip-hint");
  const facts = FACTS.map(({ label, unit }) => {
    const value = element("span", "fact-value");
    return { value, item: element("div", "fact", element("dt", "", label), element("dd", "", value, unit && element("span", "unit", ` ${unit}`))) };
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
    return { ...parts, item: element("li", "candidate", element("span", "candidate-place", String(i + 1)), parts.text, bar, parts.probability, parts.logit) };
  });

  root.replaceChildren(
    element("div", "strip-head",
      element("span", "strip-what", row, " · ", position, " · token ", token),
      element("span", "strip-next", next_label, " ", next),
      hint),
    element("div", "strip-body",
      element("dl", "facts", ...facts.map(({ item }) => item)),
      element("div", "candidates-box",
        element("ol", "candidates", ...lines.map(({ item }) => item)))),
  );

  /** @param {PlainReading} reading @param {Cell} cell @param {boolean} pinned */
  return (reading, cell, pinned) => {
    root.hidden = false;
    root.classList.toggle("pinned", pinned);
    row.textContent = reading.taps[cell.tap] + (cell.tap === finalTap(reading) ? " (final)" : "");
    position.textContent = `position ${cell.position}`;
    token.textContent = reading.tokens[cell.position].shown;
    const true_next = nextToken(reading, cell.position);
    const right = guessIsRight(reading, cell.position);
    next_label.textContent = true_next ? "true next" : "end of the text";
    next.textContent = true_next ? `${right ? "* " : ""}${true_next.shown}` : "";
    next.classList.toggle("right", right);
    hint.textContent = pinned ? "pinned · Esc or a second click releases" : "click pins · arrow keys move";
    facts.forEach(({ value }, i) => (value.textContent = FACTS[i].value(reading, cell)));
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

/** The cell in one sentence, for a screen reader. @param {PlainReading} reading @param {Cell} cell @param {boolean} pinned */
export const spokenCell = (reading, cell, pinned) =>
  `${reading.taps[cell.tap]}, position ${cell.position}, token ${reading.tokens[cell.position].shown}: ` +
  `top-1 ${topToken(reading, cell).shown}, ${percent(candidates(reading, cell)[0]?.probability ?? NaN)}, ` +
  `rank of final ${rank(statAt(reading, "rank_final", cell))}${pinned ? ", pinned" : ""}`;
