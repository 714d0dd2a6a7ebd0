/** The picture for those who do not see it: a sentence per row, and a real table on demand. */
import { mean } from "d3-array";
import { byId, element } from "../../ui/dom.ts";
import { linesOf } from "../../reading/cell-text.ts";
import { agrees, finalTap } from "../../reading/reading.ts";
import { numberIn } from "../../reading/views.ts";
import type { Shown } from "./frame.ts";

function sentenceOf({ reading, comparison, view, values, span }: Shown, tap: number) {
  const positions = Array.from({ length: span.end - span.start }, (_, i) => span.start + i);
  const n_agreeing = positions.filter((position) => agrees(reading, { tap, position })).length;
  const average = mean(positions.map((position) => values[tap * reading.n_tokens + position]).filter(Number.isFinite));
  const where = comparison ? " of the first text" : "";
  const name = `${reading.taps[tap]}${tap === finalTap(reading) ? ", final" : ""}`;
  return `${name}: same top-1 as final at ${n_agreeing} of ${positions.length} positions${where}${average === undefined ? "" : `; mean ${view.quantity} ${numberIn(view, average)}`}.`;
}

export function createTable() {
  const toggle = byId("table-toggle");
  const box = byId("table-box");
  let shown: Shown | null = null;

  function fill() {
    if (!shown || box.hidden) return;
    const { reading, comparison, rows, span, view, values, printing } = shown;
    const positions = Array.from({ length: span.end - span.start }, (_, i) => span.start + i);
    const head = element(
      "tr",
      "",
      element("th", "", "row"),
      ...positions.map((position) => element("th", "token", `${position} ${reading.tokens[position].shown}`)),
    );
    for (const cell of head.cells) cell.scope = "col";
    const lines = rows.map((tap) => {
      const name = element("th", "", reading.taps[tap]);
      name.scope = "row";
      return element(
        "tr",
        "",
        name,
        ...positions.map((position) => {
          const value = values[tap * reading.n_tokens + position];
          const token = linesOf(
            reading,
            comparison,
            { tap, position },
            { ...printing, prints: "token" },
            view,
            value,
            null,
          ).join(" ");
          return element(
            "td",
            agrees(reading, { tap, position }) ? "agrees" : "",
            element("span", "token", token),
            ` ${numberIn(view, value)}`,
          );
        }),
      );
    });
    const next = element(
      "tr",
      "",
      element("th", "", "true next"),
      ...positions.map((position) => element("td", "token", reading.tokens[position + 1]?.shown ?? "")),
    );
    byId("table").replaceChildren(
      element(
        "caption",
        "",
        `${view.quantity}: each row’s token and value; bold where the token is the final one${comparison ? `. “→” is the second text’s token where it is another; “–” where the position is not compared` : ""}`,
      ),
      element("thead", "", head),
      element("tbody", "", ...lines),
      element("tfoot", "", next),
    );
  }

  toggle.addEventListener("click", () => {
    box.hidden = !box.hidden;
    toggle.setAttribute("aria-expanded", String(!box.hidden));
    toggle.textContent = box.hidden ? "Table" : "Hide the table";
    fill();
  });

  return {
    show(now: Shown) {
      shown = now;
      byId("row-sentences").replaceChildren(...now.rows.map((tap) => element("li", "", sentenceOf(now, tap))));
      fill();
    },

    clear() {
      shown = null;
      byId("row-sentences").replaceChildren();
      byId("table").replaceChildren();
    },
  };
}
