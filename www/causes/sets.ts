/** Sets of tokens over the whole vocabulary: how likely each is at every cell, and of what the prediction consists over depth. */
import { createHeatGrid } from "../cards/heat-grid.ts";
import { decimal, integer, percent, rank as rankText } from "../lib/format.ts";
import { classesOf, matchingSet, textsOf } from "../reading/token-classes.ts";
import { button, element, optionsOf, replaceKeyed } from "../ui/dom.ts";
import { choiceOf } from "../ui/fields.ts";
import { svgElement } from "./waterfall.ts";
import type { Causes } from "../engine/protocol.ts";
import type { TokenSet, Vocabulary } from "../reading/token-classes.ts";
import type { PlainReading } from "../reading/reading.ts";
import type { ChosenCell, Stage } from "./types.ts";

/** The engine sums so many at once. */
const MAX_SETS = 16;
const ROW = 22;
const NAME = 96;
const COLOURS = 8;

type Done = { cell: ChosenCell; sets: TokenSet[]; n_classes: number; scores: Causes["sets"][1] };

export function createSets(
  { ask, card, theme }: Stage,
  page: {
    /** the chosen cell, whose reading is summed */
    cell: () => ChosenCell | null;
    vocabulary: (signal: AbortSignal) => Promise<Vocabulary>;
    /** tokens that are selected in the atlas */
    picked: () => ReadonlySet<number>;
  },
) {
  let done: Done | null = null;
  let texts: (string | null)[] | null = null;
  /** Those that a person named. */
  let own: TokenSet[] = [];
  let expressions: string[] = [];

  const figure = card({
    name: "sets",
    title: "Sets of tokens",
    words:
      "The summed probability of whole classes of tokens, and the rank of the best one of each, over the whole vocabulary and not only the likeliest tokens.",
    csv: () => ({
      head: ["set", "tokens", "tap", "position", "probability", "best_rank"],
      lines: (done?.sets ?? []).flatMap(({ name, ids }, i) =>
        linesOf((done as Done).cell.reading, (done as Done).scores[i]).map((line) => [name, ids.length, ...line]),
      ),
    }),
    again: () => void run(),
  });
  const which = choiceOf("set", [], () => draw());
  const measure = choiceOf(
    "measure",
    [
      ["prob", "probability"],
      ["rank", "best rank"],
    ],
    () => drawGrid(),
  );
  const input = element("input", "");
  Object.assign(input, { placeholder: "expression, as ^ \\d+$", autocomplete: "off", spellcheck: false });
  input.setAttribute("aria-label", "Regular expression over the text of tokens");
  const problem = element("p", "bad");
  problem.setAttribute("role", "alert");
  const add = element("button", "chip small", "Add set");
  add.type = "submit";
  const form = element("form", "field-row", input, add);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    problem.textContent = "";
    if (input.value === "") return;
    expressions = [...expressions.filter((each) => each !== input.value), input.value];
    void run();
  });
  figure.tools.append(
    button("chip main", "Sum the sets", () => void run()),
    form,
    which.element,
    measure.element,
  );
  const chips = element("ul", "set-chips");
  const grid = createHeatGrid("A set of tokens", {
    words: ({ row, column }) => {
      if (!done) return "";
      const { reading } = done.cell;
      const i = setNow();
      const at = (reading.taps.length - 1 - row) * reading.n_tokens + column;
      const { prob, rank } = done.scores[i];
      return `${reading.taps[reading.taps.length - 1 - row]}, position ${column}: ${done.sets[i].name} ${percent(prob[at])}, best rank ${rankText(rank[at])}`;
    },
    choose: () => {},
  });
  const mixture = element("div", "set-mixture");
  figure.tools.append(problem);
  figure.body.append(chips, grid.element, mixture);

  const setNow = () => Math.max(0, Math.min(Number(which.select.value) || 0, (done?.sets.length ?? 1) - 1));
  const linesOf = (reading: PlainReading, { prob, rank }: Causes["sets"][1][number]) =>
    reading.taps.flatMap((tap, t) =>
      reading.tokens.map((_, position) => {
        const at = t * reading.n_tokens + position;
        return [tap, position, prob[at], rank[at]] as (string | number)[];
      }),
    );

  async function run() {
    const cell = page.cell();
    if (!cell) return;
    problem.textContent = "";
    const found = await figure.run(async ({ signal, onProgress }): Promise<Done | null> => {
      texts ??= textsOf(await page.vocabulary(signal));
      own = [];
      for (const expression of expressions) {
        try {
          own.push(matchingSet(texts, expression));
        } catch (error) {
          problem.textContent = (error as Error).message;
          expressions = expressions.filter((each) => each !== expression);
          return null;
        }
      }
      const picked = page.picked();
      const classes = classesOf(texts, new Set(cell.reading.tokens.map(({ id }) => id)));
      const sets = [
        ...classes,
        ...(picked.size > 0 ? [{ name: "selected in the atlas", ids: Uint32Array.from(picked) }] : []),
        ...own,
      ];
      if (sets.length > MAX_SETS) {
        problem.textContent = `These are ${sets.length} sets; at most ${MAX_SETS} are summed together. Remove one.`;
        return null;
      }
      const scores = await ask(
        "sets",
        { serial: cell.reading.serial, sets: sets.map(({ ids }) => ids) },
        { signal, onProgress },
      );
      return { cell, sets, n_classes: classes.length, scores };
    });
    if (!found) return;
    done = found;
    which.select.replaceChildren(...optionsOf(found.sets.map(({ name }, i) => [String(i), name] as const)));
    draw();
  }

  function draw() {
    figure.body.hidden = !done;
    which.element.hidden = measure.element.hidden = !done;
    drawGrid();
    drawMixture();
    replaceKeyed(
      chips,
      ...own.map(({ name, ids }) => {
        const drop = button("", "×", () => {
          expressions = expressions.filter((each) => `/${each}/` !== name);
          void run();
        });
        drop.setAttribute("aria-label", `remove ${name}`);
        drop.dataset.key = name;
        return element("li", "", element("span", "token", name), ` ${integer(ids.length)} tokens `, drop);
      }),
    );
  }

  function drawGrid() {
    if (!done) return grid.show(null, theme());
    const { reading } = done.cell;
    const is_rank = measure.select.value === "rank";
    const { prob, rank } = done.scores[setNow()];
    const fromTop = (values: Float32Array) =>
      Float32Array.from(
        reading.taps
          .toReversed()
          .flatMap((_, row) => [
            ...values.subarray(
              (reading.taps.length - 1 - row) * reading.n_tokens,
              (reading.taps.length - row) * reading.n_tokens,
            ),
          ]),
      );
    grid.show(
      {
        rows: reading.taps.toReversed(),
        columns: reading.tokens.map(({ shown }) => shown),
        // A good rank is strong, as in the pictures above.
        values: is_rank
          ? fromTop(rank).map((value) => (value >= 1 ? 1 / (1 + Math.log10(value)) : NaN))
          : fromTop(prob),
        limit: 1,
        print: is_rank
          ? (value) => integer(10 ** (1 / value - 1))
          : (value) => `${decimal(100 * value, value < 0.1 ? 1 : 0)}`,
      },
      theme(),
    );
  }

  /** One bar for each row at the chosen position: the classes, which together are the whole vocabulary. */
  function drawMixture() {
    if (!done) return mixture.replaceChildren();
    const { cell, sets, n_classes, scores } = done;
    const { reading, position } = cell;
    const width = Math.max(280, mixture.clientWidth || 520);
    const rows = reading.taps.toReversed();
    const height = rows.length * ROW + 4;
    const svg = svgElement("svg", {
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      "font-size": 12,
      class: "mixture",
    });
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `Classes of tokens over the rows at position ${position}`);
    rows.forEach((tap, row) => {
      const at = (reading.taps.length - 1 - row) * reading.n_tokens + position;
      const y = row * ROW;
      svg.append(svgElement("text", { x: 2, y: y + ROW / 2, dy: ".35em", fill: "var(--muted)" }, tap));
      let x = NAME;
      for (let i = 0; i < n_classes; i++) {
        const share = scores[i].prob[at] * (width - NAME - 4);
        if (!(share > 0)) continue;
        const bar = svgElement("rect", {
          x,
          y: y + 2,
          width: share,
          height: ROW - 4,
          fill: `var(--series-${i % COLOURS})`,
        });
        bar.append(svgElement("title", {}, `${tap}: ${sets[i].name} ${percent(scores[i].prob[at])}`));
        svg.append(bar);
        x += share;
      }
    });
    // The set that is chosen above, over the rows.
    const chosen = setNow();
    const points = rows.flatMap((_, row) => {
      const at = (reading.taps.length - 1 - row) * reading.n_tokens + position;
      const x = NAME + scores[chosen].prob[at] * (width - NAME - 4);
      // A cell that is not finite has no place.
      return Number.isFinite(x) ? [[x, row * ROW + ROW / 2]] : [];
    });
    svg.append(
      svgElement("polyline", {
        points: points.map((point) => point.join()).join(" "),
        fill: "none",
        stroke: "var(--surface)",
        "stroke-width": 5,
      }),
      svgElement("polyline", {
        points: points.map((point) => point.join()).join(" "),
        fill: "none",
        stroke: "var(--ink)",
        "stroke-width": 2,
      }),
      ...points.map(([cx, cy]) => svgElement("circle", { cx, cy, r: 3.5, fill: "var(--ink)" })),
    );
    const sum = scores
      .slice(0, n_classes)
      .reduce((sum, { prob }) => sum + prob[reading.taps.length * reading.n_tokens - 1], 0);
    const caption = element(
      "p",
      "muted",
      `Position ${position} of ${cell.which === "edited" ? "the edited run" : `text ${cell.which.toUpperCase()}`}, row by row. The classes are all of the vocabulary: in the last cell they sum to ${decimal(sum, 7)}. Line: ${sets[chosen].name}, ${percent(scores[chosen].prob[(reading.taps.length - 1) * reading.n_tokens + position])} at the end.`,
    );
    caption.dataset.caption = "";
    const keys = element(
      "ul",
      "series",
      ...sets.slice(0, n_classes).map(({ name, ids }, i) => {
        const key = element("span", "series-key");
        key.style.background = `var(--series-${i % COLOURS})`;
        return element("li", "", key, `${name} (${integer(ids.length)})`);
      }),
    );
    mixture.replaceChildren(caption, svg, keys);
  }

  draw();
  return {
    element: figure.element,
    /** Another model, or other texts. */
    forget(is_model: boolean) {
      figure.reset();
      done = null;
      if (is_model) [texts, own, expressions] = [null, [], []];
      draw();
    },
    stop: () => figure.stop(),
    redraw: draw,
    run,
    done: () => done,
  };
}
