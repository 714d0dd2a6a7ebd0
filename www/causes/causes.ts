/** The tab of causes: two texts, what is changed in a run of one of them, and what follows; who writes a cell; sweeps. */
import { effect, signal, untracked } from "@preact/signals-core";
import { createCard } from "../export/figure-card.ts";
import { onSystemTheme, resolveTheme } from "../graphics/theme.ts";
import { legendStops, unitOf } from "../lens/figure/legend-words.ts";
import { shownOf } from "../lens/figure/figure.ts";
import { counted, percent } from "../lib/format.ts";
import { createLatest } from "../lib/latest.ts";
import { comparisonOf, targetsOf } from "../reading/comparison.ts";
import { NO_EDITS, coneOf, editWords, formatEdits, isSameReading, outsideOf, parseEdits } from "../reading/edits.ts";
import { candidates, finalTap, topToken } from "../reading/reading.ts";
import { VIEWS, viewNamed } from "../reading/views.ts";
import { button, element, optionsOf } from "../ui/dom.ts";
import { segmented } from "../ui/segmented.ts";
import { createAttribution } from "./attribution.ts";
import { createEditForm } from "./edit-form.ts";
import { createExamples } from "./examples.ts";
import { createExports } from "./exports.ts";
import { createHistory } from "./history.ts";
import { createPictures } from "./pictures.ts";
import { createSweep } from "./sweep.ts";
import type { Engine } from "../engine/client.ts";
import type { EditedRun, PageEdit, TextName } from "../reading/edits.ts";
import type { PlainReading, Token } from "../reading/reading.ts";
import type { Store } from "../state/store.ts";
import type { Place, Which } from "./pictures.ts";
import type { ChosenCell, Contrast, Ran, Stage } from "./types.ts";

export type Causes = ReturnType<typeof createCauses>;

const SELECT_DELAY_MS = 150;

const WORDS_KEYS =
  "Arrow keys move the cell, Enter chooses it. x puts what the other text has there into the edited run; Shift and x its whole row.";

/** A quantity of two texts as one of two runs. */
const ofRuns = (quantity: string) =>
  quantity
    .replaceAll("second text", "edited run")
    .replaceAll("first text", "unedited run")
    .replace(/([−÷]) first$/, "$1 unedited run");

const NO_EDITS_WORDS =
  "There is no edit yet. Drag a cell from one text onto the other, press x on a cell, or add an edit beside the pictures.";

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
  let place: Place | null = null;
  let ran: Ran | null = null;
  /** The tokens that a person named; null: those that the runs put first. */
  let named: { a: Token | null; b: Token | null } = { a: null, b: null };
  let shows: "change" | "run" = "change";
  let timer = 0;
  const names: Map<number, string> = new Map();
  const latest = createLatest();
  const system = signal(0);
  onSystemTheme(() => system.value++);

  const theme = () => resolveTheme(store.theme.peek());
  const readingOf = (text: TextName) =>
    text === "a" ? store.reading.peek() : (store.comparison.peek()?.second ?? null);
  const parsed = () => parseEdits(store.edits.peek());
  const run = (): EditedRun => parsed() ?? { ...NO_EDITS, of: readingOf("b") ? "b" : "a" };
  const setRun = (to: EditedRun) => {
    chosen_of = to.of;
    store.setEdits(formatEdits(to));
    if (to.edits.length === 0) void runEdits();
  };
  /** Which text is edited, before there is an edit that says so. */
  let chosen_of: TextName | null = null;
  const runNow = (): EditedRun => {
    const now = run();
    return now.edits.length === 0 && chosen_of !== null && (chosen_of === "a" || readingOf("b"))
      ? { ...now, of: chosen_of }
      : now;
  };
  const nameOf = (id: number) => names.get(id) ?? `#${id}`;

  const stage: Stage = {
    ask: (method, question, watch) => engine().causes(method, question, watch),
    theme,
    card: (what) =>
      createCard({
        ...what,
        model: () => store.model.peek()?.in_use.name ?? "",
        restart,
      }),
    edit: (edit) => addEdit(edit),
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
    words:
      "Drag a cell, or the name of a row, from one text onto the other: its activation is put there and everything behind it is computed anew.",
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
  const keys = element("p", "unseen", WORDS_KEYS);
  keys.id = "causes-keys";
  const no_edits = element("p", "muted causes-hint");
  runs.body.append(legend, pictures.element, no_edits, check, keys);

  // ---- Edits.
  const form = createEditForm({
    run: runNow,
    change: setRun,
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
    run: runNow,
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
    const at = place && chosenCell();
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

  const attribution = createAttribution(stage);
  const sweep = createSweep(stage, () => {
    const a = readingOf("a");
    return (
      a && {
        a,
        b: readingOf("b"),
        contrast: contrastOf({ which: "a", reading: a, tap: finalTap(a), position: a.n_tokens - 1 }),
      }
    );
  });
  const examples = createExamples({
    store,
    sweep: sweep.choose,
    results: () => ({ ran, sweep: sweep.done() }),
    run: () => sweep.run(),
  });

  home.replaceChildren(
    element("div", "causes-main", examples.element, runs.element, attribution.element, sweep.element),
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
    const b = [theirs, ...second].find((token) => token && token.id !== a.id && token.id !== 0xffffffff);
    return { a, b: b ?? null };
  }

  // ---- The chosen cell.
  const readingIn = (which: Which) => (which === "edited" ? (ran?.edited ?? null) : readingOf(which));

  function chosenCell(): ChosenCell | null {
    const reading = place && readingIn(place.which);
    if (!place || !reading || place.tap >= reading.taps.length || place.position >= reading.n_tokens) return null;
    return { which: place.which, reading, tap: place.tap, position: place.position };
  }

  function select(to: Place, by_key: boolean) {
    if (to.position < 0) return;
    place = to;
    pictures.mark(place);
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
    const has_components = at && !at.reading.asked.contributions && at.reading.asked.decoder.length === 0;
    attribution.show(has_components ? { cell: at, contrast: contrastOf(at) } : null);
  }

  // ---- Edits by hand.
  function addEdit(edit: PageEdit) {
    const now = runNow();
    const at = chosenCell();
    // Offered beside a cell: of the run that the cell is of.
    const of = now.edits.length === 0 && at && at.which !== "edited" ? at.which : now.of;
    if ("from" in edit && edit.from.text === of && of !== now.of)
      return setRun({ ...now, edits: [...now.edits, edit] });
    setRun({ of, edits: [...now.edits, edit] });
  }

  function drop(from: Place, to: Place) {
    const source = readingIn(from.which);
    const now = runNow();
    const target_text: TextName = to.which === "edited" ? now.of : to.which;
    const target = readingOf(target_text);
    if (!source || !target || from.which === "edited") return;
    const is_row = from.position < 0;
    const [at, from_at] = [target.taps[to.tap], source.taps[from.tap]];
    const position = to.position < 0 ? from.position : to.position;
    const edit: PageEdit = {
      at,
      ...(is_row ? {} : { positions: [position] }),
      from: {
        text: from.which,
        ...(from_at === at ? {} : { at: from_at }),
        ...(is_row || from.position === position ? {} : { positions: [from.position] }),
      },
    };
    setRun(now.of === target_text ? { ...now, edits: [...now.edits, edit] } : { of: target_text, edits: [edit] });
  }

  function patchHere({ which, tap, position }: Place) {
    const reading = readingIn(which);
    if (!reading) return;
    const now = runNow();
    // Pressed in one text, it goes into the other; in the edited run it comes from the text that is not edited.
    const of: TextName = which === "edited" ? now.of : which === "a" ? "b" : "a";
    const text: TextName = of === "a" ? "b" : "a";
    if (!readingOf(of) || !readingOf(text))
      return runs.say("There is only one text. Press “Compare with…” above for another one to take activations from.");
    const edit: PageEdit = {
      at: reading.taps[tap],
      ...(position < 0 ? {} : { positions: [position] }),
      from: { text },
    };
    setRun(now.of === of ? { ...now, edits: [...now.edits, edit] } : { of, edits: [edit] });
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

  async function runEdits() {
    const isCurrent = latest.begin();
    const wanted = store.edits.peek();
    const now = runNow();
    form.draw(now);
    history.visit(wanted);
    badge.hidden = clear.hidden = self_check.hidden = now.edits.length === 0;
    const text = parsed();
    if (wanted !== "" && !text)
      runs.say("The edits of this link could not be read. Ask for the link again, or remove them.", [
        { label: "Remove them", onClick: () => store.setEdits("") },
      ]);
    void learnNames(now.edits);
    const base = readingOf(now.of);
    if (now.edits.length === 0 || !base) {
      runs.stop();
      ran = null;
      if (now.edits.length > 0) runs.say(`The edited text, ${now.of.toUpperCase()}, is not there.`);
      else if (wanted === "") runs.say("");
      return draw();
    }
    const other = history.chosenAgainst();
    const against_run = other === null || other === wanted ? null : parseEdits(other);
    const found = await runs.run(async ({ signal }) => {
      const question = { base: base.serial, texts: textsNow(), track: [], asked: base.asked };
      const model = base.model;
      const edited = {
        ...(await stage.ask("edit", { ...question, role: "edited", edits: now.edits }, { signal })),
        model,
      };
      const against = against_run
        ? {
            ...(await stage.ask(
              "edit",
              {
                ...question,
                base: readingOf(against_run.of)?.serial ?? base.serial,
                role: "against",
                edits: against_run.edits,
              },
              { signal },
            )),
            model,
          }
        : base;
      const n = Math.min(against.n_tokens, edited.n_tokens);
      const columns = Array.from({ length: n }, (_, i): [number, number] => [i, i]);
      const answer = await engine().compare(
        against.serial,
        edited.serial,
        columns,
        targetsOf(against, columns),
        signal,
      );
      return { run: now, base, edited, against, comparison: comparisonOf(against, edited, columns, answer) };
    });
    if (!isCurrent()) return;
    ran = found;
    if (ran) history.add(wanted, resultWords(ran));
    draw();
    if (place?.which === "edited") askAttribution();
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

  function checkWords({ base, edited, run }: Ran) {
    const { cells, changed } = outsideOf(base, edited, run.edits);
    return changed === 0
      ? `Checked: ${counted(cells, "cell")} outside the outline, all of them the same bits as without edits.`
      : `${counted(changed, "cell")} of ${cells} outside the outline changed, which must not be: please report it.`;
  }

  /** Patches the text with itself, at the places of the edits: nothing may change. */
  async function checkIdentity() {
    const now = ran;
    if (!now) return;
    const of = now.run.of;
    const same = now.run.edits.flatMap((edit): PageEdit[] =>
      "weights" in edit
        ? edit.scale === undefined
          ? []
          : [{ ...edit, scale: 1 }]
        : [
            {
              at: edit.at,
              ...(edit.head === undefined ? {} : { head: edit.head }),
              ...(edit.positions ? { positions: edit.positions } : {}),
              from: { text: of },
            },
          ],
    );
    const found = await runs.run(({ signal }) =>
      stage.ask(
        "edit",
        { role: "against", base: now.base.serial, texts: textsNow(), edits: same, track: [], asked: now.base.asked },
        { signal },
      ),
    );
    if (!found || ran !== now) return;
    check.textContent = `${checkWords(now)} ${
      isSameReading(now.base, found)
        ? `The same edits with the text’s own activations change nothing: all ${counted(found.taps.length * found.n_tokens, "cell")} keep their bits.`
        : "The same edits with the text’s own activations change something, which must not be: please report it."
    }`;
    // What was compared with has made way.
    if (now.against !== now.base) void runEdits();
  }

  // ---- Drawing.
  function draw() {
    view_select.value = store.view.peek().name;
    const [a, b] = [readingOf("a"), readingOf("b")];
    const view = store.view.peek();
    const is_change = shows === "change" && ran !== null;
    const plain = view.between || view.is_tracked ? viewNamed(null) : view;
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
    const change =
      ran && is_change
        ? shownOf(ran.against, { ...look, view: view.between ? view : plain }, [], ran.comparison)
        : null;
    const shown = change ?? (ran && scale ? { ...shownOf(ran.edited, look, []), scale } : null);
    pictures.show(
      "edited",
      shown,
      ran
        ? `${change ? `${ofRuns(change.view.quantity)}` : `run of text ${ran.run.of.toUpperCase()}`} · ${counted(ran.run.edits.length, "edit")} · outlined: what they can change`
        : "",
    );
    const scales = [shown_a, change].filter((each) => each !== null && each !== undefined);
    legend.replaceChildren(
      ...scales.map(({ view, scale, theme }) => {
        const bar = element("div", "bar");
        bar.style.background = `linear-gradient(to right, ${legendStops(view, theme).join(", ")})`;
        const ticks = scale.ticks.map(({ at, label }) => {
          const tick = element("span", at === 0 ? "tick tick-first" : at === 1 ? "tick tick-last" : "tick", label);
          tick.style.left = `${at * 100}%`;
          return tick;
        });
        return element(
          "figure",
          "scale",
          element("figcaption", "", `${ofRuns(view.quantity)} `, element("span", "unit", `(${unitOf(view, scale)})`)),
          element("div", "scale-body", bar, element("div", "ticks", ...ticks)),
        );
      }),
    );
    runs.setTitle(ran ? "Two texts and an edited run" : b ? "Two texts" : "The text");
    check.textContent = ran ? checkWords(ran) : "";
    check.classList.toggle("bad", check.textContent.includes("must not be"));
    shows_choice.element.hidden = !ran;
    // Until a person chooses a cell, it is the answer of the first text.
    if (!chosenCell()) place = a && { which: "a", tap: finalTap(a), position: a.n_tokens - 1 };
    pictures.mark(place);
    drawCell();
    history.draw(store.edits.peek());
    tools.draw();
    examples.draw();
  }

  const words = (of: PlainReading) => {
    const last = candidates(of, { tap: finalTap(of), position: of.n_tokens - 1 })[0];
    return `${counted(of.n_tokens, "token")}${last ? ` · ends with ${last.token.shown} ${percent(last.probability)}` : ""}`;
  };

  // ---- What changes.
  const swept: { a: PlainReading | null; b: PlainReading | null } = { a: null, b: null };
  let of_model: object | null = null;
  effect(() => {
    const [model, reading, comparison, is_open] = [
      store.model.value,
      store.reading.value,
      store.comparison.value,
      store.causes.value,
    ];
    void store.edits.value;
    untracked(() => {
      if (!is_open) return;
      const b = comparison?.second ?? null;
      const is_model = of_model !== model;
      of_model = model;
      const facts = model?.model;
      form.setShape({
        n_layer: Number(facts?.n_layer ?? 1),
        n_head: Number(facts?.n_head ?? 1),
        n_embd: Number(facts?.n_embd ?? 1),
        n_tokens: { a: reading?.n_tokens ?? 0, b: b?.n_tokens ?? 0 },
        family: String(facts?.family ?? ""),
      });
      if (is_model) {
        names.clear();
        history.forget();
        named = { a: null, b: null };
      }
      if (is_model || swept.a !== reading || swept.b !== b) sweep.forget(Number(facts?.n_head ?? 1), is_model);
      [swept.a, swept.b] = [reading, b];
      attribution.show(null);
      void runEdits().then(() => place && askAttribution());
    });
  });
  effect(() => {
    void [store.view.value, store.switches.value, store.theme.value, system.value, store.causes.value];
    untracked(() => {
      if (!store.causes.peek()) return;
      draw();
      attribution.redraw();
      sweep.redraw();
    });
  });

  return {
    /** For tests. */
    ran: () => ran,
    pictures,
    attribution,
    sweep,
    select: (to: Place) => select(to, false),
  };
}
