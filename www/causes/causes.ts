/** The tab of causes: two texts, what is changed in a run of one of them, and what follows; who writes a cell; sweeps. */
import { effect, signal, untracked } from "@preact/signals-core";
import { createCard } from "../cards/figure-card.ts";
import { onSystemTheme, resolveTheme } from "../graphics/theme.ts";
import { legendStops, unitOf } from "../lens/figure/legend-words.ts";
import { shownOf } from "../lens/figure/figure.ts";
import { counted, percent } from "../lib/format.ts";
import { createLatest } from "../lib/latest.ts";
import { comparisonOf, targetsOf } from "../reading/comparison.ts";
import { coneOf, editWords, formatEdits, isSameReading, outsideOf, parseEdits } from "../reading/edits.ts";
import { NO_TOKEN, candidates, finalTap, topToken } from "../reading/reading.ts";
import { VIEWS, viewNamed } from "../reading/views.ts";
import { button, element, optionsOf } from "../ui/dom.ts";
import { segmented } from "../ui/segmented.ts";
import { createAttribution } from "./attribution.ts";
import { createEditForm } from "./edit-form.ts";
import { createExamples } from "./examples.ts";
import { createExports } from "./exports.ts";
import { createHistory } from "./history.ts";
import { createMemory } from "./memory.ts";
import { createPictures } from "./pictures.ts";
import { createSets } from "./sets.ts";
import { createSweep } from "./sweep.ts";
import type { Engine } from "../engine/client.ts";
import type { Theme } from "../graphics/colormaps.ts";
import type { Scale } from "../reading/scales.ts";
import type { View } from "../reading/views.ts";
import type { EditedRun, PageEdit, TextName } from "../reading/edits.ts";
import type { PlainReading, Token } from "../reading/reading.ts";
import type { Store } from "../state/store.ts";
import type { Place, Which } from "./pictures.ts";
import type { ChosenCell, Contrast, Ran, Stage } from "./types.ts";

export type Causes = ReturnType<typeof createCauses>;

const SELECT_DELAY_MS = 150;

const WORDS_KEYS =
  "Arrow keys choose another cell. In a text, x puts its activation into the run of the other text; in the edited run, x takes it from the text that is not edited. Shift and x do so with the whole row.";

/** A quantity of two texts as one of two runs. */
const ofRuns = (quantity: string, before: string) =>
  quantity
    .replaceAll("second text", "edited run")
    .replaceAll("first text", before)
    .replace(/([−÷]) first$/, `$1 ${before}`);

const NO_EDITS_WORDS =
  "There is no edit yet. Drag a cell from one text onto the other, press x on a cell, or add an edit beside the pictures.";
const WORDS =
  "Drag a cell, or the name of a row, from one text onto the other: its activation is put there and everything behind it is computed anew.";

/** A cell that a person chose, by the name of its row. */
type Chosen = { which: Which; tap: string; position: number };

function legendOf(name: string, view: View, scale: Scale, theme: Theme) {
  const bar = element("div", "bar shade-bar");
  bar.style.background = `linear-gradient(to right, ${legendStops(view, theme).join(", ")})`;
  const ticks = scale.ticks.map(({ at, label }) => {
    const tick = element("span", at === 0 ? "tick tick-first" : at === 1 ? "tick tick-last" : "tick", label);
    tick.style.left = `${at * 100}%`;
    return tick;
  });
  const figure = element(
    "figure",
    "scale",
    element("figcaption", "", `${name} `, element("span", "unit", `(${unitOf(view, scale)})`)),
    element("div", "scale-body", bar, element("div", "ticks", ...ticks)),
  );
  figure.dataset.caption = "";
  return figure;
}

export function createCauses(
  home: HTMLElement,
  {
    store,
    engine,
    restart,
  }: {
    store: Store;
    engine: () => Engine;
    /** starts the engine again */
    restart: () => void;
  },
) {
  let chosen: Chosen | null = null;
  let ran: Ran | null = null;
  /** The tokens that a person named; null: those that the runs put first. */
  let named: { a: Token | null; b: Token | null } = { a: null, b: null };
  let shows: "change" | "run" = "change";
  let timer = 0;
  /** The text whose run is edited while there is no edit, and the edits that each text's run had last. */
  let of_empty: TextName | null = null;
  const last_edits: Record<TextName, PageEdit[]> = { a: [], b: [] };
  const names: Map<number, string> = new Map();
  const latest = createLatest();
  const system = signal(0);
  onSystemTheme(() => system.value++);

  const theme = () => resolveTheme(store.theme.peek());
  const readingOf = (text: TextName) =>
    text === "a" ? store.reading.peek() : (store.comparison.peek()?.second ?? null);
  const nameOf = (id: number) => names.get(id) ?? `#${id}`;

  /** What is edited; without edits, in the run that the next one would be of. */
  function runNow(): EditedRun {
    const found = parseEdits(store.edits.peek());
    if (found) return found;
    const of = of_empty ?? "b";
    return { of: readingOf(of) ? of : "a", edits: [] };
  }

  function setRun(to: EditedRun) {
    const text = formatEdits(to);
    if (text !== "" && parseEdits(text) === null)
      return runs.say(
        "These are too many edits, or one of them has a number that no link can hold. Nothing was changed.",
      );
    of_empty = to.of;
    if (text === store.edits.peek()) void runEdits();
    else store.setEdits(text);
  }

  /** Another run is edited, from what it had last. */
  const chooseRun = (of: TextName) => setRun({ of, edits: last_edits[of] });

  /** Adds an edit to the run of a text; to that of the other text, beside what that had last. */
  function addEdit(edit: PageEdit, of: TextName) {
    const now = runNow();
    const before = now.of === of ? now.edits : last_edits[of];
    setRun({ of, edits: [...before, edit] });
  }

  const stage: Stage = {
    ask: (method, question, watch) => engine().causes(method, question, watch),
    theme,
    card: (what) =>
      createCard({
        ...what,
        model: () => store.model.peek()?.in_use.name ?? "",
        restart,
      }),
    edit: addEdit,
    has: (text) => readingOf(text) !== null,
  };

  // ---- The runs.
  const pictures = createPictures({
    select,
    drop: (from, to) => drop(from, to),
    patch: (at) => patchHere(at),
  });
  const runs = stage.card({
    name: "edited-run",
    title: "Two texts and an edited run",
    words: WORDS,
    csv: () => tools.table(),
    again: () => void runEdits(),
  });
  const view_select = element("select", "chip pick");
  view_select.setAttribute("aria-label", "View");
  const single = VIEWS.filter((view) => !view.is_tracked);
  view_select.append(...optionsOf(single.map(({ name, quantity }) => [name, quantity] as const)));
  view_select.addEventListener("change", () => store.setView(viewNamed(view_select.value)));
  const shows_choice = segmented({
    label: "What the third picture shows",
    choices: [
      ["change", "change by the edits"],
      ["run", "edited run"],
    ] as const,
    onChoose: (value) => {
      shows = value;
      draw();
    },
  });
  shows_choice.set("change");
  runs.tools.append(view_select, shows_choice.element);
  const legend = element("div", "causes-legend");
  const check = element("p", "muted causes-check");
  check.setAttribute("role", "status");
  check.dataset.caption = "";
  const keys = element("p", "unseen", WORDS_KEYS);
  keys.id = "causes-keys";
  const no_edits = element("p", "muted causes-hint");
  runs.body.append(legend, pictures.element, no_edits, check, keys);

  // ---- Edits.
  const form = createEditForm({
    run: runNow,
    change: setRun,
    choose: chooseRun,
    tokenOf: async (text) => (await tokenOf(text)).id,
    nameOf,
  });
  const badge = element("span", "edited-badge", "edited model");
  const history = createHistory({
    go: (text) => store.setEdits(text),
    against: () => void runEdits(),
    words: (text) => (parseEdits(text)?.edits ?? []).map((edit) => editWords(edit, nameOf)),
  });
  const tools = createExports({
    ran: () => ran,
    store,
    attribution: () => attribution.answer(),
    sweep: () => sweep.done(),
    nameOf,
  });
  const clear = button("chip small", "Remove all", () => setRun({ ...runNow(), edits: [] }));
  const self_check = button("chip small", "Check that nothing else changes", () => void checkIdentity());
  const edits_card = element(
    "section",
    "card causes-edits",
    element("h2", "", "Edits ", badge),
    element("label", "field", element("span", "muted", "Edited is the run of"), form.of),
    form.list,
    element("div", "field-row", clear, self_check),
    element("details", "edit-details", element("summary", "", "Add an edit"), form.form),
    history.element,
    tools.element,
  );
  edits_card.setAttribute("aria-label", "Edits");

  // ---- The cell.
  const cell_title = element("h2", "", "Cell");
  const cell_words = element("p", "muted");
  const cell_lines = element("ol", "cell-lines");
  const token_a = tokenField("for", "a");
  const token_b = tokenField("against", "b");
  const token_problem = element("p", "bad");
  token_problem.setAttribute("role", "alert");
  const use_place = button("chip small", "Edit here", () => {
    const at = chosenCell();
    if (!at) return;
    form.prefill(at.reading.taps[at.tap], at.position);
    (edits_card.querySelector("details") as HTMLDetailsElement).open = true;
    form.form.querySelector("select")?.focus();
  });
  const cell_card = element(
    "section",
    "card causes-cell",
    cell_title,
    cell_words,
    cell_lines,
    element("div", "field-row", use_place),
    element("h3", "", "Tokens"),
    element("div", "token-fields", token_a.element, token_b.element),
    token_problem,
  );
  cell_card.setAttribute("aria-label", "The chosen cell");

  const attribution = createAttribution(stage, (down, { at, head }, { of }) =>
    pictures.drag(down, `${at} head ${head} of text ${of.toUpperCase()}`, (to) => {
      if (!to) return null;
      const target: TextName = to.which === "edited" ? runNow().of : to.which;
      if (target === of || !readingOf(target)) return null;
      const positions = to.position < 0 ? {} : { positions: [to.position] };
      return {
        words: `${to.position < 0 ? "all positions" : `position ${to.position}`} of text ${target.toUpperCase()}`,
        drop: () => addEdit({ at, head, ...positions, from: { text: of } }, target),
      };
    }),
  );
  const sweep = createSweep(
    stage,
    () => {
      const a = readingOf("a");
      if (!a) return null;
      const end: ChosenCell = { which: "a", of: "a", reading: a, tap: finalTap(a), position: a.n_tokens - 1 };
      return { a, b: readingOf("b"), contrast: contrastOf(end) };
    },
    () => runNow().of,
  );
  const sets = createSets(stage, {
    cell: chosenCell,
    vocabulary: (signal) => engine().vocabulary(signal),
    picked: () => store.selection.tokens,
  });
  const memory = createMemory(stage, {
    reading: () => readingOf("a"),
    n_layer: () => Number(store.model.peek()?.model.n_layer ?? 1),
  });
  const examples = createExamples({
    store,
    sweep: sweep.choose,
    results: () => ({ ran, sweep: sweep.done() }),
  });

  home.replaceChildren(
    element(
      "div",
      "causes-main",
      examples.element,
      runs.element,
      attribution.element,
      sweep.element,
      sets.element,
      memory.element,
    ),
    element("aside", "causes-side", edits_card, cell_card),
  );

  // ---- Tokens.
  /** Errors: a RangeError that says what to type. */
  async function tokenOf(text: string): Promise<Token> {
    const [, id] = /^#(\d{1,9})$/.exec(text.trim()) ?? [];
    const found = id === undefined ? await engine().encode(text) : await engine().tokens([Number(id)]);
    if (found.length !== 1)
      throw new RangeError(
        `“${text}” is ${found.length} tokens (${found.map(({ shown }) => shown).join(" ")}): type one, with its leading space, or # and its id.`,
      );
    names.set(found[0].id, found[0].shown);
    return found[0];
  }

  function tokenField(label: string, which: "a" | "b") {
    const input = element("input", "");
    Object.assign(input, { autocomplete: "off", spellcheck: false });
    input.setAttribute("aria-label", `Token ${label}; its text with its leading space, or # and its id`);
    input.addEventListener("change", () => {
      token_problem.textContent = "";
      const set = (token: Token | null) => {
        named = { ...named, [which]: token };
        askAttribution();
      };
      if (input.value === "") return set(null);
      tokenOf(input.value).then(set, (error: Error) => void (token_problem.textContent = error.message));
    });
    return { element: element("label", "field", element("span", "muted", label), input), input };
  }

  /** The tokens to compare at a cell: those that a person named, else what the run and the other text put first. */
  function contrastOf({ reading, position, which }: ChosenCell): Contrast {
    const top = (of: PlainReading, at: number) =>
      topToken(of, { tap: finalTap(of), position: Math.min(at, of.n_tokens - 1) });
    const a = named.a ?? top(reading, position);
    if (named.b) return { a, b: named.b };
    const other = which === "edited" ? ran?.base : readingOf(which === "a" ? "b" : "a");
    const theirs = other && top(other, other.n_tokens === reading.n_tokens ? position : other.n_tokens - 1);
    const second = candidates(reading, { tap: finalTap(reading), position }).map(({ token }) => token);
    const b = [theirs, ...second].find((token) => token && token.id !== a.id && token.id !== NO_TOKEN);
    return { a, b: b ?? null };
  }

  // ---- The chosen cell.
  const readingIn = (which: Which) => (which === "edited" ? (ran?.edited ?? null) : readingOf(which));

  /** The cell that a person chose, if it is there, else the answer of the first text. */
  function chosenCell(): ChosenCell | null {
    const reading = chosen && readingIn(chosen.which);
    const tap = reading?.taps.indexOf(chosen?.tap ?? "") ?? -1;
    if (chosen && reading && tap >= 0 && chosen.position < reading.n_tokens) {
      const of = chosen.which === "edited" ? (ran?.run.of ?? "a") : chosen.which;
      return { which: chosen.which, of, reading, tap, position: chosen.position };
    }
    const a = readingOf("a");
    return a && { which: "a", of: "a", reading: a, tap: finalTap(a), position: a.n_tokens - 1 };
  }

  const placeOf = ({ which, tap, position }: ChosenCell): Place => ({ which, tap, position });

  function select(to: Place, by_key: boolean) {
    const reading = readingIn(to.which);
    if (to.position < 0 || !reading) return;
    chosen = { which: to.which, tap: reading.taps[to.tap], position: to.position };
    pictures.mark(to);
    if (by_key) pictures.say(to);
    drawCell();
    clearTimeout(timer);
    // Keys pass over many cells.
    timer = window.setTimeout(askAttribution, by_key ? SELECT_DELAY_MS : 0);
  }

  function drawCell() {
    const at = chosenCell();
    use_place.hidden = !at;
    cell_title.textContent = at ? `${at.reading.taps[at.tap]}, position ${at.position}` : "Cell";
    cell_words.textContent = at
      ? `${at.which === "edited" ? "Edited run" : `Text ${at.which.toUpperCase()}`}, after ${at.reading.tokens[at.position].shown}`
      : "Click a cell to see what writes it.";
    cell_lines.replaceChildren(
      ...(at ? candidates(at.reading, at).slice(0, 5) : []).map(({ token, probability }) =>
        element("li", "", element("span", "token", token.shown), " ", element("span", "muted", percent(probability))),
      ),
    );
    const contrast = at && contrastOf(at);
    const show = (field: HTMLInputElement, own: Token | null, usual: Token | null | undefined) => {
      if (document.activeElement !== field) field.value = own ? own.text : "";
      field.placeholder = usual ? usual.shown : "mean token";
    };
    show(token_a.input, named.a, contrast?.a);
    show(token_b.input, named.b, contrast?.b);
  }

  function askAttribution() {
    drawCell();
    const at = chosenCell();
    if (!at) return attribution.show(null);
    const { contributions, decoder } = at.reading.asked;
    if (contributions || decoder.length > 0)
      return attribution.show(
        null,
        "Only rows of the stream have components, and only without borrowed blocks: set Rows to blocks or half-blocks and the decoder to no block, in the lens’ display options.",
      );
    attribution.show({ cell: at, contrast: contrastOf(at) });
  }

  // ---- Edits by hand.
  function drop(from: Place, to: Place) {
    const source = readingIn(from.which);
    const of: TextName = to.which === "edited" ? runNow().of : to.which;
    const target = readingOf(of);
    if (!source || !target || from.which === "edited") return;
    const is_row = from.position < 0;
    const [at, from_at] = [target.taps[to.tap], source.taps[from.tap]];
    const position = to.position < 0 ? from.position : to.position;
    addEdit(
      {
        at,
        ...(is_row ? {} : { positions: [position] }),
        from: {
          text: from.which,
          ...(from_at === at ? {} : { at: from_at }),
          ...(is_row || from.position === position ? {} : { positions: [from.position] }),
        },
      },
      of,
    );
  }

  function patchHere({ which, tap, position }: Place) {
    const reading = readingIn(which);
    if (!reading) return;
    // Pressed in one text, it goes into the other; in the edited run it comes from the text that is not edited.
    const of: TextName = which === "edited" ? runNow().of : which === "a" ? "b" : "a";
    const text: TextName = of === "a" ? "b" : "a";
    if (!readingOf(of) || !readingOf(text))
      return runs.say("There is only one text. Press “Compare with…” above for another one to take activations from.");
    addEdit({ at: reading.taps[tap], ...(position < 0 ? {} : { positions: [position] }), from: { text } }, of);
  }

  // ---- Running.
  const textsNow = () => ({ a: readingOf("a")?.serial ?? -1, b: readingOf("b")?.serial ?? null });

  async function learnNames(edits: PageEdit[]) {
    const ids = edits.flatMap((edit) => ("add" in edit && "tokens" in edit.add ? edit.add.tokens : []));
    const unknown = ids.filter((id) => !names.has(id));
    if (unknown.length === 0) return;
    const found = await engine()
      .tokens(unknown)
      .catch(() => []);
    for (const { id, shown } of found) names.set(id, shown);
    form.draw(runNow());
  }

  const textsText = () => JSON.stringify([store.text.peek(), store.second.peek()]);

  /** Runs that the worker keeps. */
  const held = new Set<"edited" | "against">();
  /** A run that is no longer looked at is released. */
  function release(role: "edited" | "against") {
    if (held.delete(role) && store.model.peek())
      void stage.ask("close", { role }, { signal: new AbortController().signal }).catch(() => {});
  }

  async function runEdits() {
    const isCurrent = latest.begin();
    const text = store.edits.peek();
    const now = runNow();
    const state = { edits: text, texts: textsText(), of: now.of };
    const base = readingOf(now.of);
    // However it came about: by hand, by Undo, by a link.
    last_edits[now.of] = now.edits;
    form.draw(now);
    history.visit(state);
    badge.hidden = clear.hidden = self_check.hidden = now.edits.length === 0;
    self_check.disabled = true;
    void learnNames(now.edits);
    // What is drawn of another text, or without edits, does not wait for a run.
    if (ran && (ran.base !== base || now.edits.length === 0)) ran = null;
    draw();
    if (now.edits.length === 0 || !base) {
      runs.reset();
      release("edited");
      release("against");
      if (text !== "" && parseEdits(text) === null)
        runs.say("The edits of this link could not be read. Ask for the link again, or remove them.", [
          { label: "Remove them", onClick: () => store.setEdits("") },
        ]);
      else if (now.edits.length > 0 && readingOf("a"))
        runs.say(
          store.second.peek()
            ? "Text B is being read."
            : "The edits are of a run of text B, which is not there: press “Compare with…” above.",
        );
      return;
    }
    const other = history.chosenAgainst();
    const against_run = other === null ? null : parseEdits(other);
    const found = await runs.run(async ({ signal }): Promise<Ran> => {
      const question = { base: base.serial, texts: textsNow(), track: [], asked: base.asked };
      const readWith = async (role: "edited" | "against", edits: PageEdit[]) => {
        held.add(role);
        return { ...(await stage.ask("edit", { ...question, role, edits }, { signal })), model: base.model };
      };
      const edited = await readWith("edited", now.edits);
      const against = against_run ? await readWith("against", against_run.edits) : base;
      const columns = Array.from({ length: base.n_tokens }, (_, i): [number, number] => [i, i]);
      const targets = targetsOf(against, columns);
      const answer = await engine().compare(against.serial, edited.serial, columns, targets, signal);
      const comparison = comparisonOf(against, edited, columns, answer);
      return { run: now, base, edited, against, against_run, comparison };
    });
    if (!isCurrent()) return;
    if (!against_run) release("against");
    ran = found;
    self_check.disabled = !ran;
    // What was summed of an earlier run is not of this one.
    if (sets.done()?.cell.which === "edited") sets.forget(false);
    if (ran) history.add(state, resultWords(ran));
    draw();
    askAttribution();
  }

  /** What came of a run, in a few words. */
  function resultWords({ base, edited }: Ran) {
    const last = (of: PlainReading) => candidates(of, { tap: finalTap(of), position: of.n_tokens - 1 })[0];
    const [before, after] = [last(base), last(edited)];
    if (!before || !after) return "not finite";
    return before.token.id === after.token.id
      ? `${after.token.shown} ${percent(before.probability)} → ${percent(after.probability)}`
      : `${before.token.shown} → ${after.token.shown} ${percent(after.probability)}`;
  }

  /**
   * What the comparison of all cells outside the outline found.
   * @param more what else was checked, and whether it failed
   */
  function showCheck(of: Ran | null, more: { words: string; is_bad: boolean } = { words: "", is_bad: false }) {
    const { cells, changed } = of ? outsideOf(of.base, of.edited, of.run.edits) : { cells: 0, changed: 0 };
    const words =
      changed === 0
        ? `Checked: ${counted(cells, "cell")} outside the outline, all of them the same bits as without edits.`
        : `${counted(changed, "cell")} of ${cells} outside the outline changed, which must not be: please report it.`;
    check.textContent = of ? `${words} ${more.words}`.trim() : "";
    check.classList.toggle("bad", changed > 0 || more.is_bad);
  }

  /** Patches the text with itself, at the places of the edits: nothing may change. */
  async function checkIdentity() {
    const now = ran;
    if (!now) return;
    const { of, edits } = now.run;
    const same = edits.flatMap((edit): PageEdit[] => {
      if ("weights" in edit) return edit.scale === undefined ? [] : [{ ...edit, scale: 1 }];
      const { at, head, positions } = edit;
      return [{ at, ...(head === undefined ? {} : { head }), ...(positions ? { positions } : {}), from: { text: of } }];
    });
    if (same.length === 0)
      return showCheck(now, {
        words: "Positions that are smoothed cannot be put back, so there is nothing else to check.",
        is_bad: false,
      });
    self_check.disabled = true;
    held.add("against");
    const { signal } = new AbortController();
    const question = { base: now.base.serial, texts: textsNow(), track: [], asked: now.base.asked };
    try {
      const found = await stage.ask("edit", { ...question, role: "against", edits: same }, { signal });
      if (ran !== now) return;
      const n = found.taps.length * found.n_tokens;
      const is_same = isSameReading(now.base, found);
      const words = is_same
        ? `The same edits with the text’s own activations change nothing: all ${counted(n, "cell")} keep their bits.`
        : "The same edits with the text’s own activations change something, which must not be: please report it.";
      showCheck(now, { words, is_bad: !is_same });
    } catch (error) {
      showCheck(now, { words: `The check failed: ${(error as Error).message}`, is_bad: true });
    }
    self_check.disabled = false;
    // The check has replaced what the picture is compared with.
    if (now.against_run && ran === now) void runEdits();
    else release("against");
  }

  // ---- Drawing.
  function draw() {
    const [a, b] = [readingOf("a"), readingOf("b")];
    const view = store.view.peek();
    // What two runs differ by, and a tracked token, are not in one text.
    const plain = view.between || view.is_tracked ? viewNamed(null) : view;
    view_select.value = view.is_tracked ? plain.name : view.name;
    const look = {
      view: plain,
      switches: { ...store.switches.peek(), transposed: false, span: null },
      theme: store.theme.peek(),
      compare: store.compare.peek(),
      picked: [],
    };
    no_edits.hidden = ran !== null;
    no_edits.textContent = a ? NO_EDITS_WORDS : "No text has been read yet; the Lens tab says how far it is.";
    const shown_a = a && shownOf(a, look, []);
    // The same colour is the same number in all pictures.
    const scale = shown_a?.scale;
    pictures.show("a", shown_a, a ? words(a) : "");
    pictures.show("b", b && scale ? { ...shownOf(b, look, []), scale } : null, b ? words(b) : "");
    pictures.setCone(ran ? coneOf(ran.base, ran.run.edits) : []);
    const before = ran?.against_run ? "compared state" : "unedited run";
    const change =
      ran && shows === "change"
        ? shownOf(ran.against, { ...look, view: view.between ? view : plain }, [], ran.comparison)
        : null;
    const shown = change ?? (ran && scale ? { ...shownOf(ran.edited, look, []), scale } : null);
    const quantity = change ? ofRuns(change.view.quantity, before) : (shown?.view.quantity ?? "");
    const in_words = ran?.run.edits.map((edit) => editWords(edit, nameOf)).join("; ") ?? "";
    pictures.show(
      "edited",
      shown,
      ran
        ? `${quantity} · ${counted(ran.run.edits.length, "edit")} of the run of text ${ran.run.of.toUpperCase()} · outlined: what they can change`
        : "",
      quantity,
    );
    runs.setWords(ran ? `Edited model: ${in_words}.` : WORDS);
    const scales: [string, NonNullable<typeof shown>][] = [
      ...(shown_a ? ([[shown_a.view.quantity, shown_a]] as [string, typeof shown_a][]) : []),
      ...(change ? ([[quantity, change]] as [string, typeof change][]) : []),
    ];
    legend.replaceChildren(...scales.map(([name, { view, scale, theme }]) => legendOf(name, view, scale, theme)));
    runs.setTitle(ran ? "Two texts and an edited run" : b ? "Two texts" : "The text");
    showCheck(ran);
    shows_choice.element.hidden = !ran;
    const at = chosenCell();
    pictures.mark(at && placeOf(at));
    drawCell();
    history.draw();
    tools.draw();
    examples.draw();
  }

  const words = (of: PlainReading) => {
    const last = candidates(of, { tap: finalTap(of), position: of.n_tokens - 1 })[0];
    return `${counted(of.n_tokens, "token")}${last ? ` · ends with ${last.token.shown} ${percent(last.probability)}` : ""}`;
  };

  // ---- What changes.
  /** What the panels were last drawn of. */
  let seen: { model: string; a: PlainReading | null; b: PlainReading | null; is_open: boolean } = {
    model: "",
    a: null,
    b: null,
    is_open: false,
  };
  effect(() => {
    const [now, reading, comparison, is_open] = [
      store.model.value,
      store.reading.value,
      store.comparison.value,
      store.causes.value,
    ];
    void store.edits.value;
    untracked(() => {
      if (!is_open) {
        // Out of sight nothing is computed, and nothing is kept on the device.
        if (seen.is_open) {
          latest.begin();
          runs.reset();
          sweep.stop();
          sets.stop();
          memory.stop();
          attribution.show(null);
          ran = null;
          release("edited");
          release("against");
        }
        seen.is_open = false;
        return;
      }
      const [a, b] = [reading, comparison?.second ?? null];
      const facts = now?.model;
      form.setShape({
        n_layer: Number(facts?.n_layer ?? 1),
        n_head: Number(facts?.n_head ?? 1),
        n_embd: Number(facts?.n_embd ?? 1),
        n_tokens: { a: a?.n_tokens ?? 0, b: b?.n_tokens ?? 0 },
        family: String(facts?.family ?? ""),
      });
      // The same model again, after a crash, is no other one.
      const model = now ? JSON.stringify([now.in_use, facts]) : seen.model;
      const is_model = model !== seen.model;
      if (is_model && seen.model !== "") {
        names.clear();
        history.forget();
        named = { a: null, b: null };
        last_edits.a = last_edits.b = [];
      }
      if (is_model || seen.a !== a || seen.b !== b) {
        sweep.forget(Number(facts?.n_head ?? 1), is_model);
        sets.forget(is_model);
        memory.forget();
      }
      seen = { model, a, b, is_open };
      askAttribution();
      void runEdits();
    });
  });
  effect(() => {
    void [store.view.value, store.switches.value, store.theme.value, system.value];
    untracked(() => {
      if (!store.causes.peek()) return;
      draw();
      attribution.redraw();
      sweep.redraw();
      sets.redraw();
      memory.redraw();
    });
  });

  return {
    /** For tests. */
    ran: () => ran,
    pictures,
    attribution,
    sweep,
    sets,
    memory,
    select: (to: Place) => select(to, false),
  };
}
