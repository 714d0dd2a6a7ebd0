/** The legend of a chart: a key in the colour of each series, and its name. */
import { element } from "./dom.ts";

/** @param shape how the series is drawn */
export function seriesKey(css: string, shape: "line" | "dot" = "line") {
  const key = element("span", shape === "dot" ? "series-key dot" : "series-key");
  key.style.background = css;
  return key;
}

export const chartLegend = (series: { css: string; name: string | Node }[]) =>
  element("ul", "series", ...series.map(({ css, name }) => element("li", "", seriesKey(css), name)));

/** Which line is solid, dashed or dotted. */
export const dashLegend = (names: string[]) =>
  element("ul", "series", ...names.map((name, i) => element("li", `dash-${i}`, element("span", "dash-key"), name)));
