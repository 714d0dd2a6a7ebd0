/** A corpus instead of a sentence: every curve by row over many windows, with intervals; another model's beside it. */
import { counted, decimal, integer, percent } from "../lib/format.ts";
import { classesOf, textsOf } from "../reading/token-classes.ts";
import { fileName } from "../export/image-file.ts";
import { save } from "../export/save-file.ts";
import { parseEdits, suitsAnyText } from "../reading/edits.ts";
import { textOf } from "../reading/reading.ts";
import { lensWords } from "../state/lenses.ts";
import { button, element, replaceKeyed, replaceOptions } from "../ui/dom.ts";
import { checkbox, choiceOf, fieldOf } from "../ui/fields.ts";
import { depthCurves } from "./curves.ts";
import { createTexts } from "./texts.ts";
import type { CorpusPart, Extremes } from "../engine/protocol.ts";
import type { Vocabulary } from "../reading/token-classes.ts";
import type { Store } from "../state/store.ts";
import type { Curve } from "./curves.ts";
import type { Given, Stage } from "./types.ts";

/** What was run, and what came of it. */
type Done = {
  part: CorpusPart;
  extremes: Extremes;
  /** what tells it from other runs */
  key: string;
  window: number;
  stride: number;
  lens: string;
  edits: object[];
  classes: string[];
  model: string;
  given: Given;
};

/** Another result, of a file. */
type Ghost = { name: string; rows: CorpusPart["rows"] };

const MEASURES = [
  ["loss", "loss"],
  ["kl", "KL(final ‖ row)"],
  ["entropy", "entropy"],
  ["agreement", "same top-1 as the final row"],
  ["settled", "settled from this row on"],
] as const;
type Measure = (typeof MEASURES)[number][0];
/** What is needed to take up a run. */
type Stored = { key: string; state: string; extremes: Extremes };

/** With the number of the form of a state. */
const STORED = "loupe:corpus:2";
/** Windows by which the time is estimated. */
const TRIAL = 2;
const COLOURS = 8;

export function createCorpus(
  { ask, card }: Stage,
  store: Store,
  page: { vocabulary: (signal: AbortSignal) => Promise<Vocabulary>; setText: (text: string) => void },
) {
  let done: Done | null = null;
  let ghost: Ghost | null = null;
  let by_class = false;

  const figure = card({
    name: "corpus",
    title: "A corpus instead of a sentence",
    words:
      "Every position of many texts, window by window: means by row with 95 % intervals, windows as clusters. Memory does not grow with the texts; a window is read like any text, so the page stays usable meanwhile.",
    csv: () => ({
      head: [
        "lens",
        "window",
        "stride",
        "group",
        "row",
        "positions",
        ...MEASURES.flatMap(([key]) => [key, `${key}_low`, `${key}_high`]),
      ],
      lines: groups().flatMap(([name, rows]) =>
        rows.map((row): (string | number)[] => [
          lensWords((done as Done).lens),
          (done as Done).window,
          (done as Done).stride,
          name,
          row.tap,
          row.n,
          ...MEASURES.flatMap(([key]) => [row[key].mean, row[key].low, row[key].high]),
        ]),
      ),
    }),
    again: () => void run(null),
  });
  const texts = createTexts("Texts of the corpus", () => changed());
  const number = (label: string) => {
    const field = fieldOf(label, "", () => {}, { type: "number" });
    Object.assign(field.input, { min: "1", step: "1" });
    return field;
  };
  const window = number("window, tokens");
  const stride = number("stride");
  const lens = choiceOf("lens", [], () => changed());
  const measure = choiceOf(
    "measure",
    MEASURES.map(([key, name]) => [key, name]),
    () => draw(),
  );
  const classes = checkbox("by class of the next token", (on) => {
    by_class = on;
    draw();
  });
  const resume = button("chip", "Resume", () => void run(stored()));
  const ghost_input = element("input", "");
  Object.assign(ghost_input, { type: "file", accept: ".json,application/json", hidden: true });
  ghost_input.setAttribute("aria-label", "Another result as JSON");
  const overlay = button("chip small", "Overlay another result…", () => ghost_input.click());
  const said = element("p", "muted");
  const estimate = element("p", "muted");
  estimate.setAttribute("role", "status");
  said.dataset.caption = "";
  const picture = element("div", "");
  const table = element("div", "");
  const exits = element("div", "field-row");
  figure.tools.append(
    texts.element,
    window.element,
    stride.element,
    lens.element,
    button("chip main", "Read the corpus", () => void run(null)),
    resume,
    measure.element,
    classes.element,
    overlay,
    ghost_input,
  );
  figure.body.append(estimate, said, picture, table, exits);

  const longest = () => Math.max(2, store.n_ctx.peek() || 2);
  const model = () => store.model.peek()?.in_use.name ?? "";

  /** What a run that was broken off has left. */
  function stored(): Stored | null {
    try {
      return JSON.parse(localStorage.getItem(STORED) ?? "null") as Stored | null;
    } catch {
      return null;
    }
  }
  /** A browser that keeps nothing reads all the same. */
  function keep(left: Stored | null) {
    try {
      if (left) localStorage.setItem(STORED, JSON.stringify(left));
      else localStorage.removeItem(STORED);
    } catch {
      // Then it cannot be taken up.
    }
  }
  const idOf = (name: string) => store.lenses.peek().find((each) => each.name === name)?.id ?? "";
  const keyOf = (how: { window: number; stride: number; lens: string }) =>
    JSON.stringify([
      model(),
      store.model.peek()?.model.precision,
      how.window,
      how.stride,
      idOf(how.lens),
      store.edits.peek(),
      texts.key(),
    ]);
  const howNow = () => {
    const most = longest();
    const size = Math.min(most, Math.max(2, Math.floor(Number(window.input.value)) || most));
    const step = Math.min(size, Math.max(1, Math.floor(Number(stride.input.value)) || size));
    return { window: size, stride: step, lens: lens.select.value };
  };
  function offerResume() {
    const left = stored();
    resume.hidden = !left || texts.isEmpty() || left.key !== keyOf(howNow());
  }

  /** Something else is chosen than what was read. */
  function changed() {
    offerResume();
    sayWhat();
  }

  async function run(left: Stored | null) {
    if (texts.isEmpty()) return figure.say("There are no texts: paste some, or add text files.");
    const how = howNow();
    const edits = parseEdits(store.edits.peek())?.edits ?? [];
    if (!edits.every(suitsAnyText))
      return figure.say(
        "Only edits that name no text and no positions can go with a corpus: those of weights, and what is set to zero at all positions. Remove the others in Causes.",
      );
    const given = texts.get();
    const key = keyOf(how);
    const n_bytes = texts.bytes();
    await figure.run(
      async (watch) => {
        const vocabulary = await page.vocabulary(watch.signal);
        const found = classesOf(textsOf(vocabulary), new Set());
        const of_token = new Uint8Array(vocabulary.ends.length);
        found.forEach(({ ids }, i) => ids.forEach((id) => (of_token[id] = i)));
        const question = { ...given, ...how, edits, classes: of_token };
        const names = found.map(({ name }) => name);
        let now: Stored | null = left;
        const take = ({ part, extremes }: { part: CorpusPart | null; extremes: Extremes }) => {
          if (!part) return;
          now = { key, state: part.state, extremes };
          done = { part, extremes, ...how, key, edits, classes: names, model: model(), given };
          draw();
          keep(now);
        };
        const from = () => ({ state: now?.state ?? null, before: now?.extremes ?? { hardest: [], easiest: [] } });
        const start = performance.now();
        if (!left) {
          // How long it takes is said first. Four bytes are about one token of English.
          take(await ask("corpus", { ...question, ...from(), limit: TRIAL }, watch));
          const n = done?.key === key ? (done.part.rows[0]?.n ?? 0) : 0;
          if (now === null || n === 0) throw new Error("Expected a text of two tokens or more, found none.");
          estimate.textContent = inWords(((performance.now() - start) / n) * (n_bytes / 4) * (how.window / how.stride));
        }
        const went_on = performance.now();
        let first_bytes = NaN;
        take(
          await ask(
            "corpus",
            { ...question, ...from(), limit: null },
            {
              ...watch,
              onProgress: ({ part = null, extremes, bytes = 0 }) => {
                if (extremes) take({ part, extremes });
                // What was read before passes at once.
                if (Number.isNaN(first_bytes)) first_bytes = bytes;
                const share = (bytes - first_bytes) / Math.max(1, n_bytes - first_bytes);
                watch.onProgress({ done: Math.min(0.99, bytes / n_bytes) });
                if (share > 0.02) estimate.textContent = inWords(((performance.now() - went_on) * (1 - share)) / share);
              },
            },
          ),
        );
        keep(null);
        return true;
      },
      () => void run(stored()?.key === key ? stored() : null),
    );
    estimate.textContent = "";
    draw();
    offerResume();
  }

  const inWords = (ms: number) =>
    ms < 90_000
      ? `About ${Math.max(1, Math.round(ms / 1000))} s are left.`
      : `About ${Math.round(ms / 60_000)} min are left.`;

  /** All tokens, then each class that has any. */
  const groups = (): [string, CorpusPart["rows"]][] =>
    done
      ? [
          ["all", done.part.rows],
          ...done.part.classes
            .map((rows, i): [string, CorpusPart["rows"]] => [(done as Done).classes[i] ?? String(i), rows])
            .filter(([, rows]) => (rows[0]?.n ?? 0) > 0),
        ]
      : [];

  function draw() {
    measure.element.hidden = classes.element.hidden = overlay.hidden = !done;
    if (!done) {
      picture.replaceChildren();
      table.replaceChildren();
      exits.replaceChildren();
      return;
    }
    const { part, given } = done;
    const which = measure.select.value as Measure;
    const values = (rows: CorpusPart["rows"]) => rows.map((row) => row[which]);
    const curves: Curve[] = (by_class ? groups() : groups().slice(0, 1)).map(([name, rows], i) => ({
      name,
      css: `var(--series-${i % COLOURS})`,
      values: values(rows),
    }));
    if (ghost) curves.push({ name: ghost.name, css: "var(--muted)", values: values(ghost.rows), is_ghost: true });
    const is_share = isShare(which);
    picture.replaceChildren(
      depthCurves(curves, {
        label: is_share ? "share of positions" : "nats",
        width: Math.max(280, Math.min(760, picture.clientWidth || 640)),
        ...(is_share ? { domain: [0, 1] } : {}),
      }),
    );
    sayWhat();
    drawTable(part.rows);
    replaceKeyed(
      exits,
      keyed(
        "json",
        button("chip small", "JSON", () =>
          save(fileName((done as Done).model, "corpus", "json"), json(), "application/json"),
        ),
      ),
      ...windowsOf("Hardest windows", done.extremes.hardest, given),
      ...windowsOf("Easiest windows", done.extremes.easiest, given),
    );
  }

  /** While a corpus is read only the numbers change, so that what a person reads or copies there stays. */
  function drawTable(rows: CorpusPart["rows"]) {
    const words = rows.toReversed().map((row) => [row.tap, ...MEASURES.map(([key]) => meanWords(key, row[key]))]);
    const cells = [...table.querySelectorAll("tbody th, tbody td")];
    const taps = words.map(([tap]) => tap);
    if (Array.from(table.querySelectorAll("tbody th"), (cell) => cell.textContent).join() === taps.join())
      return words.flat().forEach((text, i) => {
        if (cells[i].textContent !== text) cells[i].textContent = text;
      });
    const line = (texts: string[], tag: "th" | "td") =>
      element("tr", "", ...texts.map((text, i) => element(i === 0 ? "th" : tag, "", text)));
    table.replaceChildren(
      element(
        "table",
        "plain-table",
        element("thead", "", line(["row", ...MEASURES.map(([, name]) => name)], "th")),
        element("tbody", "", ...words.map((texts) => line(texts, "td"))),
      ),
    );
  }

  /** What the numbers are of. */
  function sayWhat() {
    if (!done) return;
    const { part } = done;
    const [last] = part.rows.slice(-1);
    const { model: of, lens: under, window: size, stride: step, edits } = done;
    const by = `${of}${edits.length > 0 ? ` with ${counted(edits.length, "edit")}` : ""}, ${lensWords(under)}, windows of ${integer(size)} tokens${step < size ? ` every ${integer(step)}` : ""}`;
    const interval = Number.isFinite(last.loss.low)
      ? `95 % interval ${decimal(last.loss.low, 3)} to ${decimal(last.loss.high, 3)}`
      : "no interval from one window";
    const left_out =
      part.not_finite > 0 ? ` ${counted(part.not_finite, "position")} are left out, where a logit is not finite.` : "";
    const is_old =
      done.key === keyOf(howNow()) ? "" : " What is chosen above is another corpus, or another way to read it.";
    said.textContent = `${by}: ${counted(part.rows[0].n, "position")} in ${counted(part.windows, "window")}; the last row has a loss of ${decimal(last.loss.mean, 3)} nats (${interval}).${left_out}${is_old}`;
  }

  const keyed = <E extends HTMLElement>(key: string, made: E) => {
    made.dataset.key = key;
    return made;
  };
  /** A click opens one in the lens. */
  const windowsOf = (label: string, windows: CorpusPart["last"][], given: Given) => [
    ...(windows.length > 0 ? [element("span", "muted", label)] : []),
    ...windows.map(({ text, start, n, loss }, i) =>
      keyed(
        `${label} ${i}`,
        button(
          "chip small",
          `document ${integer(text + 1)}, tokens ${integer(start)} to ${integer(start + n - 1)}: ${decimal(loss, 2)} nats`,
          async () => {
            try {
              // Beside what is being read.
              const { signal } = new AbortController();
              page.setText(textOf(await ask("window", { ...given, text, start, n }, { signal })));
            } catch (error) {
              figure.say(`The window could not be opened: ${(error as Error).message}`);
            }
          },
        ),
      ),
    ),
  ];

  function json() {
    const { part, window, stride, lens, edits, classes, model } = done as Done;
    const { rows, classes: parts, windows, not_finite } = part;
    const how = { model, window, stride, lens, edits };
    return JSON.stringify(
      {
        made_by: "Loupe, the logit lens in a web page",
        kind: "corpus",
        ...how,
        windows,
        not_finite,
        rows,
        by_class: Object.fromEntries(parts.map((rows, i) => [classes[i], rows])),
      },
      null,
      1,
    );
  }

  /** A corpus, or a saved reading, of which the means by row are taken. */
  async function overlayFile(file: File) {
    try {
      const value = JSON.parse(await file.text()) as Record<string, unknown>;
      ghost = { name: `${nameOf(value)} (${file.name})`, rows: rowsOf(value) };
      draw();
    } catch (error) {
      figure.say(`${file.name}: ${(error as Error).message}`);
    }
  }
  ghost_input.addEventListener("change", () => {
    const [file] = ghost_input.files ?? [];
    if (file) void overlayFile(file);
    ghost_input.value = "";
  });
  for (const field of [window, stride]) field.input.addEventListener("input", changed);

  function offer() {
    const choices = store.lens_choices.peek();
    replaceOptions(lens.select, choices);
    lens.element.hidden = choices.length < 2;
    window.input.placeholder = stride.input.placeholder = String(longest());
    changed();
  }

  draw();
  offer();
  return {
    element: figure.element,
    offer,
    redraw: draw,
    texts,
    run,
    overlayFile,
    done: () => done,
    ghost: () => ghost,
    /** Another model: its numbers are no longer what is asked for, and stay as a curve beside the new ones. */
    forget(is_model: boolean) {
      figure.reset();
      if (!is_model || !done) return;
      ghost = { name: done.model, rows: done.part.rows };
      done = null;
      draw();
    },
  };
}

const isShare = (measure: Measure) => measure === "agreement" || measure === "settled";

/** A mean and how far its interval reaches on either side. */
function meanWords(measure: Measure, { mean, high }: CorpusPart["rows"][0][Measure]) {
  const words = isShare(measure) ? percent : (value: number) => decimal(value, 3);
  return Number.isFinite(high) ? `${words(mean)} ± ${words(high - mean)}` : words(mean);
}

const nameOf = (value: Record<string, unknown>) => {
  const { model } = value;
  if (typeof model === "string") return model;
  const name = (model as { name?: unknown } | null | undefined)?.name;
  return typeof name === "string" ? name : "another model";
};

/** NaN is null in JSON. */
const isRow = (row: CorpusPart["rows"][0] | undefined) =>
  typeof row?.loss?.mean === "number" && MEASURES.every(([key]) => row[key] && "mean" in row[key]);

const NO_INTERVAL = { low: NaN, high: NaN };

/**
 * The rows of a saved result.
 *
 * Errors: what is expected, for a file that is neither.
 */
export function rowsOf(value: Record<string, unknown>): CorpusPart["rows"] {
  const rows = value.rows as CorpusPart["rows"] | undefined;
  if (value.kind === "corpus" && Array.isArray(rows) && rows.every(isRow)) return rows;
  const {
    format,
    rows: taps,
    statistics,
  } = value as {
    format?: unknown;
    rows?: string[];
    statistics?: Record<string, (number | null)[][]>;
  };
  const n = statistics?.kl_final?.[0]?.length ?? 0;
  const is_reading = format === "loupe-reading" && Array.isArray(taps) && statistics?.kl_final?.length === taps.length;
  if (!is_reading || n === 0)
    throw new Error("expected a corpus or a reading that Loupe saved as JSON, got another file.");
  const mean = (name: string, row: number, of: (value: number) => number = (v) => v) => {
    const all = (statistics[name]?.[row] ?? []).filter((v): v is number => Number.isFinite(v));
    return { ...NO_INTERVAL, mean: all.reduce((sum, v) => sum + of(v), 0) / all.length };
  };
  return taps.map((tap, row) => ({
    tap,
    n,
    loss: mean("logprob_next", row, (value) => -value),
    kl: mean("kl_final", row),
    entropy: mean("entropy", row),
    agreement: mean("rank_final", row, (rank) => Number(rank === 1)),
    settled: { ...NO_INTERVAL, mean: NaN },
  }));
}
