/**
 * The views, as data: which quantity a view colours, what it is called, how it becomes colour and number.
 * The stronger the colour, the more there is of the quantity; a rank is strongest at 1.
 */
import { atCells, change, changeWhereSame, targetChange } from "./comparison.ts";
import { decimal, rank, significant } from "../lib/format.ts";
import { klGain, lossNext, ownTopLogit, trackedValues } from "./derived.ts";
import type { Kind } from "./scales.ts";
import type { PlainReading } from "./reading.ts";
import type { Comparison } from "./comparison.ts";

export interface View {
  /** as in the URL and in `data-view` */
  name: string;
  button: string;
  group: string;
  quantity: string;
  unit: string;
  explain: string;
  /** whether the row `input` is in the picture */
  shows_input: boolean;
  map: string;
  /** which end of the quantity has the strong colour */
  strong: "high" | "low";
  kind: Kind;
  /** where a rank's scale ends */
  cap?: number;
  /** it follows a token that a person chose */
  is_tracked?: boolean;
  /** [N·T]; `group` is the tracked token */
  values: (reading: PlainReading, group: number[]) => Float32Array;
  /** the change from the first text to the second, where it is not that of `values`: it holds the token fixed. [N·T of the first] */
  compared?: (comparison: Comparison) => Float32Array;
  /** the quantity with the token that is held fixed */
  fixed?: string;
  /** of a view that only two texts have. [N·T of the first] */
  between?: (comparison: Comparison) => Float32Array;
}

const NUMBERS: Record<Kind, (value: number) => string> = {
  logit: (value) => decimal(value, 1),
  probability: (value) => decimal(value, 2),
  rank: (value) => (value >= 10_000 ? `${decimal(value / 1000, 0)}k` : rank(value)),
  kl: (value) => decimal(value, value < 9.95 ? 2 : 1),
  nats: (value) => decimal(value, 2),
  change: (value) => decimal(value, 2),
  ratio: (value) => (Number.isFinite(value) ? `${value < 0 ? "÷" : "×"}${significant(2 ** Math.abs(value), 2)}` : "–"),
};

/** A value as a cell prints it. */
export const numberIn = ({ kind }: { kind: Kind }, value: number) => NUMBERS[kind](value);

const stat = (name: string) => (reading: PlainReading) => reading.stats[name];

/** What each kind of quantity has in common. */
const LOGIT = { kind: "logit", unit: "logits", map: "kbw", strong: "high", shows_input: false } as const;
const PROBABILITY = { kind: "probability", unit: "", map: "blues", strong: "high", shows_input: true } as const;
const RANK = { kind: "rank", unit: "1 is best", map: "blues", strong: "low", shows_input: false } as const;
const KL = { kind: "kl", unit: "nats", map: "kbw", strong: "high", shows_input: true } as const;
const NATS = { kind: "nats", unit: "nats", map: "kbw", strong: "high", shows_input: true } as const;
const CHANGE = { kind: "change", unit: "nats", map: "diverging", strong: "high", shows_input: false } as const;
/** A divergence between two texts has no values in one of them. */
const BETWEEN = { ...KL, kind: "nats", group: "Between the two texts" } as const;
const nowhere = ({ taps, n_tokens }: PlainReading) => new Float32Array(taps.length * n_tokens).fill(NaN);

export const VIEWS: View[] = [
  {
    ...LOGIT,
    name: "logit",
    button: "logit",
    group: "Final top-1",
    quantity: "logit of the final top-1",
    values: stat("logit_final"),
    fixed: "logit of the first text’s final top-1",
    compared: (comparison) => targetChange(comparison, "top", "logit"),
    explain: "How high each row scores the token that the final row puts first.",
  },
  {
    ...PROBABILITY,
    name: "probability",
    button: "probability",
    group: "Final top-1",
    quantity: "probability of the final top-1",
    values: stat("prob_final"),
    fixed: "probability of the first text’s final top-1",
    compared: (comparison) => targetChange(comparison, "top", "probability"),
    explain: "How much probability each row gives the token that the final row puts first.",
  },
  {
    ...RANK,
    name: "rank",
    button: "rank",
    group: "Final top-1",
    cap: 100,
    quantity: "rank of the final top-1",
    values: stat("rank_final"),
    fixed: "rank of the first text’s final top-1",
    compared: (comparison) => targetChange(comparison, "top", "rank"),
    explain: "Where the token that the final row puts first stands in each row’s own order.",
  },
  {
    ...LOGIT,
    name: "logit_top",
    button: "logit of the row’s own top-1",
    group: "Final top-1",
    quantity: "logit of the row’s own top-1",
    values: ownTopLogit,
    fixed: "logit of the row’s own top-1, where it is the same",
    compared: (comparison) => changeWhereSame(comparison, ownTopLogit),
    explain: "How high each row scores the token that it puts first itself, as in the post’s text.",
  },
  {
    ...KL,
    name: "kl_final",
    button: "KL(final‖row)",
    group: "Distance from final",
    quantity: "KL(final ‖ row)",
    values: stat("kl_final"),
    explain: "How far each row’s whole distribution still is from the final one.",
  },
  {
    ...KL,
    name: "kl_final_reverse",
    button: "KL(row‖final)",
    group: "Distance from final",
    quantity: "KL(row ‖ final)",
    values: stat("kl_final_reverse"),
    explain: "The other direction: how surprising the row’s own guesses would be to the final row.",
  },
  {
    ...CHANGE,
    name: "kl_gain",
    button: "ΔKL: step towards final",
    group: "Distance from final",
    quantity: "KL(final ‖ row below) − KL(final ‖ row)",
    values: klGain,
    explain:
      "How much nearer to the final distribution this block, or half-block, brought the row. Below zero it led away.",
  },
  {
    ...KL,
    name: "kl_input",
    button: "KL(input‖row)",
    group: "What is kept of the input",
    quantity: "KL(input ‖ row)",
    values: stat("kl_input"),
    explain: "How far each row’s distribution has gone from that of the input row.",
  },
  {
    ...KL,
    name: "kl_input_reverse",
    button: "KL(row‖input)",
    group: "What is kept of the input",
    quantity: "KL(row ‖ input)",
    values: stat("kl_input_reverse"),
    explain: "The other direction: how surprising the row’s guesses would be to the input row.",
  },
  {
    ...RANK,
    name: "rank_input",
    button: "rank of the input token",
    group: "What is kept of the input",
    cap: 1000,
    quantity: "rank of the input token",
    values: stat("rank_input"),
    explain: "Where the token that stands at the position is in each row’s order: is the input still there?",
  },
  {
    ...NATS,
    name: "loss_next",
    button: "−log p of the true next",
    group: "True next token",
    strong: "low",
    quantity: "−log p(true next token)",
    values: lossNext,
    fixed: "−log p(the first text’s true next token)",
    compared: (comparison) => targetChange(comparison, "next", "loss"),
    explain: "The loss of each row, were it the last: strong colour where it expects what comes.",
  },
  {
    ...RANK,
    name: "rank_next",
    button: "rank of the true next",
    group: "True next token",
    cap: 100,
    quantity: "rank of the true next token",
    values: stat("rank_next"),
    fixed: "rank of the first text’s true next token",
    compared: (comparison) => targetChange(comparison, "next", "rank"),
    explain: "Where the token that really comes next stands in each row’s order.",
  },
  {
    ...NATS,
    name: "entropy",
    button: "entropy",
    group: "Certainty",
    quantity: "entropy of the row",
    values: stat("entropy"),
    explain: "How spread out each row’s guesses are: 0 is certain.",
  },
  {
    ...LOGIT,
    name: "tracked_logit",
    button: "logit",
    group: "Tracked token",
    is_tracked: true,
    quantity: "logit of the tracked token",
    values: (reading, group) => trackedValues(reading, group, "logit"),
    explain: "How high each row scores the token that you track.",
  },
  {
    ...PROBABILITY,
    name: "tracked_probability",
    button: "probability",
    group: "Tracked token",
    is_tracked: true,
    quantity: "probability of the tracked token",
    values: (reading, group) => trackedValues(reading, group, "probability"),
    explain: "How much probability each row gives the token that you track.",
  },
  {
    ...RANK,
    name: "tracked_rank",
    button: "rank",
    group: "Tracked token",
    cap: 1000,
    is_tracked: true,
    quantity: "rank of the tracked token",
    values: (reading, group) => trackedValues(reading, group, "rank"),
    explain: "Where the token that you track stands in each row’s order.",
  },
  {
    ...BETWEEN,
    name: "between_js",
    button: "Jensen–Shannon",
    quantity: "Jensen–Shannon divergence of the two texts",
    values: nowhere,
    between: (comparison) => atCells(comparison, comparison.divergences.js),
    explain: "How far apart the two texts’ guesses are in each row: 0 is the same, ln 2 = 0.69 has nothing in common.",
  },
  {
    ...BETWEEN,
    name: "between_kl",
    button: "KL(first‖second)",
    quantity: "KL(first text ‖ second text)",
    values: nowhere,
    between: (comparison) => atCells(comparison, comparison.divergences.kl),
    explain: "How surprising the first text’s guesses would be to the second text, row by row.",
  },
  {
    ...BETWEEN,
    name: "between_kl_reverse",
    button: "KL(second‖first)",
    quantity: "KL(second text ‖ first text)",
    values: nowhere,
    between: (comparison) => atCells(comparison, comparison.divergences.kl_reverse),
    explain: "How surprising the second text’s guesses would be to the first text, row by row.",
  },
];

/** Those with a button of their own. */
export const FAVOURITES = ["logit", "probability", "rank", "kl_final"];

/** The view of that name, or the first one. */
export const viewNamed = (name: string | null): View => VIEWS.find((view) => view.name === name) ?? VIEWS[0];

/**
 * The view before or after another one, around the end.
 * @param has_second whether there are two texts
 */
export function viewBeside(view: View, step: 1 | -1, has_second: boolean) {
  const views = VIEWS.filter(({ between }) => has_second || !between);
  return views[(views.indexOf(view) + step + views.length) % views.length];
}

/** The same view of two texts: the divergence between them, or the change from the first to the second. */
export function comparedView(view: View): View {
  if (view.between) return view;
  const is_ratio = view.kind === "rank";
  const quantity = `${view.fixed ?? view.quantity}: second text ${is_ratio ? "÷" : "−"} first`;
  return {
    ...view,
    quantity,
    kind: is_ratio ? "ratio" : "change",
    map: "diverging",
    strong: "high",
    unit: is_ratio ? "ratio" : view.unit || "difference",
    explain: `Blue: ${is_ratio ? "a higher rank, further down in the order," : "more"} in the second text; orange: ${is_ratio ? "a lower rank" : "less"}. Only positions whose token is in both texts are compared; “→” names the second text’s guess where it is another.`,
  };
}

/**
 * Its values at every cell of the first text; NaN where a position has no counterpart.
 * @param view of one text
 */
export function comparedValues(view: View, comparison: Comparison, group: number[]) {
  const of = view.between ?? view.compared;
  return of
    ? of(comparison)
    : change(comparison, (reading) => view.values(reading, group), view.kind === "rank" ? "ratio" : "minus");
}

/** Colour strength in 0…1 from a place on the legend. */
export const strength = (view: View, place: number) => (view.strong === "high" ? place : 1 - place);
