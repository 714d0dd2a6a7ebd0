/** Components one after the other, each bar beginning where the one before ends: how they sum to what is shown. */
import { decimal } from "../lib/format.ts";

export type Step = { name: string; value: number };

const ROW = 21;
const NAME = 96;
const NUMBER = 58;
const MIN_WIDTH = 260;
const SPACE = "http://www.w3.org/2000/svg";

export function svgElement(name: string, attributes: Record<string, string | number>, text = "") {
  const made = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text) made.textContent = text;
  return made;
}

/** Components of one half of a block as one step: `h.i.attn.j` and its bias become `h.i.attn`. */
export function stepsOf(components: Step[]): Step[] {
  const steps: Step[] = [];
  for (const { name, value } of components) {
    const [, half] = /^(h\.\d+\.attn)\.(?:\d+|bias)$/.exec(name) ?? [];
    const last = steps.at(-1);
    if (half && last?.name === half) last.value += value;
    else steps.push({ name: half ?? name, value });
  }
  return steps;
}

/**
 * @param chosen the step that is selected
 * @param onChoose a person chooses a step
 */
export function waterfallOf(
  steps: Step[],
  {
    width,
    chosen,
    label,
    onChoose,
  }: { width: number; chosen: string | null; label: string; onChoose: (name: string) => void },
) {
  const wide = Math.max(MIN_WIDTH, width);
  const ends = [0];
  for (const { value } of steps) ends.push((ends.at(-1) ?? 0) + value);
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const room = wide - NAME - NUMBER;
  const x = (value: number) => NAME + ((value - low) / (high - low || 1)) * room;
  const height = (steps.length + 1) * ROW + 4;
  const svg = svgElement("svg", {
    width: wide,
    height,
    viewBox: `0 0 ${wide} ${height}`,
    class: "waterfall",
    "font-size": 12,
  });
  svg.setAttribute("aria-label", label);
  svg.setAttribute("role", "group");
  svg.append(svgElement("line", { x1: x(0), x2: x(0), y1: 0, y2: height, stroke: "var(--quiet)" }));
  steps.forEach(({ name, value }, i) => {
    const [from, to] = [x(ends[i]), x(ends[i + 1])];
    const y = i * ROW + 2;
    const row = svgElement("g", {
      class: `step${name === chosen ? " chosen" : ""}`,
      tabindex: name === (chosen ?? steps[0].name) ? 0 : -1,
      role: "button",
    });
    row.setAttribute("aria-pressed", String(name === chosen));
    (row as SVGGElement).dataset.key = name;
    row.append(
      svgElement("title", {}, `${name} adds ${decimal(value, 3)} logits; in all ${decimal(ends[i + 1], 3)}`),
      svgElement("rect", {
        x: 0,
        y: y - 1,
        width: wide,
        height: ROW - 1,
        fill: "transparent",
        rx: 3,
        class: "step-ground",
      }),
      svgElement("text", { x: 2, y: y + ROW / 2, dy: ".3em", fill: "var(--ink)" }, name),
      svgElement("rect", {
        x: Math.min(from, to),
        y: y + 2,
        width: Math.max(1.5, Math.abs(to - from)),
        height: ROW - 7,
        rx: 2,
        fill: value < 0 ? "var(--accent)" : "var(--blue)",
      }),
      svgElement("line", { x1: to, x2: to, y1: y + ROW - 5, y2: y + ROW + 2, stroke: "var(--quiet)" }),
      svgElement(
        "text",
        { x: wide - 2, y: y + ROW / 2, dy: ".3em", "text-anchor": "end", fill: "var(--muted)" },
        `${value > 0 ? "+" : ""}${decimal(value, 2)}`,
      ),
    );
    row.addEventListener("click", () => onChoose(name));
    row.addEventListener("keydown", (event) => {
      const { key } = event;
      const beside =
        key === "ArrowDown" ? row.nextElementSibling : key === "ArrowUp" ? row.previousElementSibling : null;
      if (key === "Enter" || key === " ") onChoose(name);
      else if (beside instanceof SVGGElement && beside.dataset.key) beside.focus();
      else return;
      event.preventDefault();
    });
    svg.append(row);
  });
  const y = steps.length * ROW + 2;
  svg.append(
    svgElement("text", { x: 2, y: y + ROW / 2, dy: ".3em", "font-weight": 600, fill: "var(--ink)" }, "sum"),
    svgElement(
      "text",
      { x: wide - 2, y: y + ROW / 2, dy: ".3em", "text-anchor": "end", "font-weight": 600, fill: "var(--ink)" },
      decimal(ends.at(-1) ?? 0, 2),
    ),
  );
  return svg;
}
