/**
 * The page's state, each fact once. Signals hold what a person chose and what came of it; computed signals hold what
 * follows from them. Only actions write; drawing is what effects do with it.
 */
import { batch, computed, signal } from "@preact/signals-core";
import { topGroup } from "../reading/derived.ts";
import { viewNamed } from "../reading/views.ts";
import { finalTap, isSameCell } from "../reading/reading.ts";
import { isProbe, lensWords } from "./lenses.ts";
import { readOptions, spanOf } from "./options.ts";
import { createSelection } from "./selection.ts";
import type { ModelInUse } from "../lib/model.ts";
import type { ThemeChoice } from "../lib/themes.ts";
import type { LensEntry } from "../engine/protocol.ts";
import type { Comparison } from "../reading/comparison.ts";
import type { Asked, Cell, Part, PlainReading } from "../reading/reading.ts";
import type { View } from "../reading/views.ts";
import type { Switches } from "./options.ts";
import { MAX_PICKED, MAX_PINS, THRESHOLD } from "./page-state.ts";
import type { PageState } from "./page-state.ts";

/** What a person chose, but for what is selected, and for the model, which may be another one than was asked for. */
export type Chosen = Omit<PageState, "model" | "file" | "channel" | "picked">;

/** A cell of the text, or of the second one. */
export type PointedCell = Cell & { is_second: boolean };

export type Store = ReturnType<typeof createStore>;

/** What is between two texts needs both, in the lens; in the tab of causes there are two runs. */
const possible = (chosen: Chosen): Chosen =>
  chosen.second === null && !chosen.causes && chosen.view.between ? { ...chosen, view: viewNamed(null) } : chosen;

export function createStore({ model: asked_model, file, channel, picked, ...chosen }: PageState) {
  const page = signal<Chosen>(possible(chosen));
  /** What the address says of the model. */
  const of_model = signal<Pick<PageState, "model" | "file">>({ model: asked_model, file });
  const model = signal<ModelInUse | null>(null);
  /** The newest reading of the text and the model in use. */
  const reading = signal<PlainReading | null>(null);
  /** Its comparison with the second text. */
  const comparison = signal<Comparison | null>(null);
  /** The text that it is a reading of. */
  const read_text = signal("");
  /** How many of the changes are steps that the Back button takes back. */
  const steps = signal(0);
  /** The steps when the text or the model last changed: after another step, that is one itself, or Back would undo both. */
  let steps_before = 0;
  const isAfterStep = () => {
    const is_after = steps.peek() > steps_before;
    steps_before = steps.peek() + Number(is_after);
    return is_after;
  };
  const selection = createSelection({ channel, tokens: picked });

  const part = <K extends keyof Chosen>(key: K) => computed(() => page.value[key]);
  const [view, switches, groups, tracked] = [part("view"), part("switches"), part("groups"), part("tracked")];
  const second = part("second");

  const [page_text, page_pins] = [part("text"), part("pins")];
  /** The pinned cells as text, which is the same while the cells are. */
  const pins_text = computed(() => {
    const of = reading.value;
    const cells = page_pins.value.map(({ tap, position }) => ({ tap: of?.taps.indexOf(tap) ?? -1, position }));
    return JSON.stringify(cells.filter(({ tap, position }) => tap >= 0 && position < (of?.n_tokens ?? 0)));
  });
  const pins = computed(() => JSON.parse(pins_text.value) as Cell[]);
  /** The cell that the pointer or a key last chose. */
  const pointed = signal<PointedCell | null>(null);

  /** Lenses other than the logit lens, and probes, which the engine has open; and the one in use, by its name. */
  const lenses = signal<LensEntry[]>([]);
  const lens = signal("");

  const n_layer = computed(() => Number(model.value?.model.n_layer ?? 1));
  const how_text = computed(() => {
    const { kept, with_end_token } = switches.value;
    const asked: Asked = readOptions(switches.value, n_layer.value);
    // It maps the stream, which contributions and borrowed blocks are not.
    if (lens.value !== "" && !asked.contributions && asked.decoder.length === 0) asked.lens = lens.value;
    return JSON.stringify({ asked, part: { kept, with_end_token } });
  });
  /** The token that a tracked view shows: the chosen one, or what the final row puts first at the end. */
  const group = computed(() => groups.value[tracked.value] ?? topGroup(reading.value));

  /** The comparison that is drawn: only one of this reading, and only while there is a second text. */
  const compared = computed(() =>
    second.value !== null && comparison.value?.first === reading.value ? comparison.value : null,
  );
  const n_vocab = computed(() => Number(model.value?.model.vocab_size ?? Infinity));
  /** Those of the ids that the model has. */
  const known = (ids: Iterable<number>) => [...ids].filter((id) => id < n_vocab.peek());

  /** The selected cell as text, which is the same while the cell is. */
  const cell_text = computed(() => {
    const [of, at] = [reading.value, pointed.value];
    if (!of) return "";
    const pin = pins.value.at(-1);
    if (pin) return JSON.stringify({ ...pin, is_second: false });
    const shown = at?.is_second ? compared.value?.second : of;
    const last = { tap: finalTap(of), position: spanOf(switches.value.span, of.n_tokens).end - 1, is_second: false };
    const is_there = at && shown && at.tap < shown.taps.length && at.position < shown.n_tokens;
    return JSON.stringify(is_there ? at : last);
  });
  const cell = computed(() => (cell_text.value === "" ? null : (JSON.parse(cell_text.value) as PointedCell)));
  /** Those that the reading does not have stay in the address. */
  const pinsTo = (cells: Cell[], is_step: boolean) => {
    const of = reading.value;
    if (!of) return;
    const hidden = page_pins.value.filter(({ tap, position }) => !of.taps.includes(tap) || position >= of.n_tokens);
    const shown = cells.map(({ tap, position }) => ({ tap: of.taps[tap], position }));
    change({ pins: [...hidden, ...shown].slice(-MAX_PINS) }, is_step);
  };

  /** They belong to a model, and are gone with the engine that had them. */
  const forgetLenses = () => {
    lenses.value = [];
    lens.value = "";
  };
  const change = (part: Partial<Chosen>, is_step = false) =>
    batch(() => {
      page.value = possible({ ...page.value, ...part });
      if (is_step) steps.value++;
    });

  return {
    page,
    of_model,
    model,
    reading,
    steps,
    selection,
    text: page_text,
    view,
    switches,
    groups,
    tracked,
    second,
    compare: part("compare"),
    theme: part("theme"),
    atlas: part("atlas"),
    causes: part("causes"),
    evidence: part("evidence"),
    edits: part("edits"),
    /** Whether the lens is in sight. */
    is_lens: computed(() => page.value.atlas === null && !page.value.causes && !page.value.evidence),
    lenses,
    /** The lenses that a reading can use, by name and as they are shown: the logit lens, whose name is empty, comes first. */
    lens_choices: computed(() => [
      ["", lensWords("")] as const,
      ...lenses.value.filter((entry) => !isProbe(entry)).map(({ name }) => [name, lensWords(name)] as const),
    ]),
    /** The fits of the input. */
    probes: computed(() => lenses.value.filter(isProbe)),
    lens,
    n_layer,
    n_ctx: computed(() => Number(model.value?.model.n_ctx ?? 0)),
    group,

    /** How the engine is to read; the same object while nothing of it changes. */
    how: computed(() => JSON.parse(how_text.value) as { asked: Asked; part: Part }),
    /** The tokens to follow in a reading. */
    track: computed(() => (view.value.is_tracked ? [...new Set(group.value)] : [])),
    /** Whether the view needs a token that a reading was not asked for. */
    is_track_missing: computed(() => {
      const readings = [reading.value, compared.value?.second].filter((of) => of !== null && of !== undefined);
      return view.value.is_tracked === true && readings.some((of) => group.value.some((id) => !of.tracked[id]));
    }),
    comparison: compared,
    /** The pinned cells that the reading has, the oldest first. The address keeps the others for another reading. */
    pins,
    /**
     * The selected cell, which picture, panel and trajectories speak of: the newest pin, else what was last pointed at,
     * else the final row at the last position in the window.
     */
    cell,
    /** The reading, if it is one of the text that is there now. */
    reading_of_text: computed(() => (read_text.value === page_text.value ? reading.value : null)),
    /** The window of positions. */
    span: computed(() => switches.value.span),
    /** All that the address says. */
    address: computed((): PageState => ({
      ...page.value,
      ...of_model.value,
      channel: selection.chosen_channel,
      picked: [...selection.tokens],
    })),

    change,
    /** What is typed is looked at where it ends. */
    setText: (text: string) =>
      batch(() => {
        pointed.value = null;
        change({ text }, isAfterStep());
      }),
    /** Another text than the one that was looked at: nothing of it is pinned, and all of it is in the window. */
    replaceText: (text: string) =>
      batch(() => {
        pointed.value = null;
        change({ text, pins: [], switches: { ...page.value.switches, span: null } });
      }),
    setView: (to: View) => to !== view.value && change({ view: to }, true),
    setSwitches: (to: Switches) => change({ switches: to }),
    setTheme: (theme: ThemeChoice) => change({ theme }),
    setSecond: (text: string | null) => change({ second: text }),
    /** A view of the atlas, or another tab; neither: the lens. */
    open: (atlas: string | null, tab: "causes" | "evidence" | null = null) => {
      const to = { atlas, causes: tab === "causes", evidence: tab === "evidence" };
      const is_there = Object.entries(to).every(([key, value]) => page.value[key as keyof typeof to] === value);
      if (!is_there) change(to, true);
    },

    /** A lens was opened, or fitted. */
    addLens: (entry: LensEntry) => void (lenses.value = [...lenses.value, entry]),
    /** A lens was closed; the logit lens takes its place. */
    dropLens: (name: string) =>
      batch(() => {
        lenses.value = lenses.value.filter((each) => each.name !== name);
        if (lens.value === name) lens.value = "";
      }),
    useLens: (name: string) => void (lens.value = name),
    /** What is edited, as a step that the Back button takes back. */
    setEdits: (edits: string) => edits !== page.value.edits && change({ edits }, true),

    point: (to: PointedCell | null) => void (pointed.value = to),
    /**
     * Pins a cell, or unpins it if it is pinned.
     * @param is_more beside those that are pinned; the oldest is dropped if there are too many
     */
    togglePin(at: Cell, is_more = false) {
      const [now, others] = [pins.value, pins.value.filter((pin) => !isSameCell(pin, at))];
      const is_pinned = others.length < now.length;
      pinsTo(is_pinned ? others : [...(is_more ? others.slice(1 - MAX_PINS) : []), at], true);
    },
    /** Adds a pin even where one is, for keys to move. */
    addPin: (at: Cell) => pinsTo([...pins.value, at], true),
    /** Makes a pin the newest one, which the panel speaks of. */
    selectPin: (pin: Cell) => pinsTo([...pins.value.filter((each) => !isSameCell(each, pin)), pin], false),
    /** Moves the newest pin; that is no step which the Back button takes back. */
    movePin: (to: Cell) => pinsTo([...pins.value.slice(0, -1), to], false),
    unpin: () => page.value.pins.length > 0 && change({ pins: [] }, true),
    follow(ids: number[]) {
      const at = groups.value.findIndex((each) => each.join() === ids.join());
      if (at < 0) change({ groups: [...groups.value, ids], tracked: groups.value.length }, true);
      else if (at !== tracked.value) change({ tracked: at }, true);
    },
    unfollow: (index: number) => change({ groups: groups.value.filter((_, i) => i !== index), tracked: 0 }, true),

    /** A reading, or none. Its comparison comes later, or with it. */
    setReading: (of: PlainReading | null, compared: Comparison | null = null, text = page_text.peek()) =>
      batch(() => {
        reading.value = of;
        read_text.value = text;
        comparison.value = compared;
      }),
    setComparison: (of: Comparison | null) => void (comparison.value = of),

    /** Another model is in use: what was chosen among the old one's channels and tokens goes. */
    replaceModel: (now: ModelInUse, link: PageState | null) =>
      batch(() => {
        model.value = now;
        forgetLenses();
        reading.value = comparison.value = null;
        if (isAfterStep()) steps.value++;
        pointed.value = null;
        const { [THRESHOLD]: _, ...options } = page.value.atlas_options;
        change({
          pins: link?.pins ?? [],
          groups: link?.groups ?? [],
          tracked: link?.tracked ?? 0,
          atlas_options: link?.atlas_options ?? options,
          // Its channels, heads and tokens are the old model's.
          edits: link?.edits ?? "",
        });
        selection.setChannel(link?.channel ?? null);
        selection.setTokens(known(link?.picked ?? []));
      }),

    /** The same model again, or a first one. */
    setModel: (now: ModelInUse) =>
      batch(() => {
        model.value = now;
        forgetLenses();
        selection.setTokens(known(selection.tokens));
      }),

    /** What another address says. It names only the first of many selected tokens. */
    restore: ({ model, file, channel, picked, ...chosen }: PageState) =>
      batch(() => {
        pointed.value = null;
        page.value = possible(chosen);
        of_model.value = { model, file };
        selection.setChannel(channel);
        if (String([...selection.tokens].slice(0, MAX_PICKED)) !== String(picked)) selection.setTokens(known(picked));
      }),
  };
}
