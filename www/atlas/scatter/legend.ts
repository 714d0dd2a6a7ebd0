/** What the colours of a cloud mean: classes that can be switched off, or a scale from the least to the greatest. */
import { seriesKey } from "../../ui/chart-legend.ts";
import { element } from "../../ui/dom.ts";
import { decimal, integer } from "../../lib/format.ts";
import { extentOf } from "../../lib/extent.ts";
import { shades } from "../../graphics/css-colours.ts";
import type { ScatterData } from "./types.ts";

export type Colours = NonNullable<ScatterData["colours"]>;

const short = (value: number) =>
  Number.isInteger(value) || Math.abs(value) >= 1000 ? integer(value) : decimal(value, Math.abs(value) < 1 ? 3 : 2);

export function createLegend(onHidden: (hidden: number[]) => void) {
  const list = element("ul", "series");

  const key = (css: string, name: string, is_line: boolean) => [seriesKey(css, is_line ? "line" : "dot"), name];

  return {
    element: list,

    show(colours: Colours | undefined, over: ScatterData["over"], hidden: Set<number>) {
      const items = [];
      if (colours && "classes" in colours) {
        items.push(
          ...colours.classes.map(({ name, css }, i) => {
            const item = element("li", "");
            if (colours.classes.length < 2) {
              item.append(...key(css, name, false));
              return item;
            }
            const toggle = element("button", "legend-toggle", ...key(css, name, false));
            toggle.type = "button";
            toggle.setAttribute("aria-pressed", String(!hidden.has(i)));
            toggle.addEventListener("click", () => {
              if (!hidden.delete(i)) hidden.add(i);
              toggle.setAttribute("aria-pressed", String(!hidden.has(i)));
              onHidden([...hidden]);
            });
            item.append(toggle);
            return item;
          }),
        );
      } else if (colours) {
        const [least, most] = extentOf(colours.values);
        const bar = element("span", "shade-bar");
        bar.style.background = `linear-gradient(to right, ${shades().join(", ")})`;
        items.push(element("li", "", `${colours.label}: ${short(least)}`, bar, short(most)));
      }
      if (over) items.push(element("li", "", ...key(over.css, over.name, true)));
      list.replaceChildren(...items);
    },
  };
}
