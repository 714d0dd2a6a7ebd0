// @ts-check
/**
 * Everything that a person can switch about the picture, as data: names, values, defaults, and how each is written in
 * the address. Pure.
 */

/** @typedef {"affine" | "plain" | "none"} Norm */
/** @typedef {"blocks" | "subblocks" | "contributions"} RowKind */

/**
 * @typedef {object} Switches
 * @property {import("./filters.js").Prints} prints
 * @property {number} step show each n-th block, counted from the last
 * @property {"top" | "bottom"} final_on
 * @property {boolean} transposed
 * @property {import("./scales.js").Limits} limits
 * @property {number | null} from of fixed limits
 * @property {number | null} to
 * @property {boolean} words_only
 * @property {boolean} hide_prompt
 * @property {number} font 1 is the usual size
 * @property {{ start: number, end: number } | null} span the window of positions; null shows all
 * @property {Norm} norm
 * @property {RowKind} row_kind
 * @property {number} borrowed how many of the last blocks belong to the decoder
 * @property {"" | "attn" | "mlp"} part of the last block, where only one block is borrowed
 */

/** @type {Switches} */
export const DEFAULTS = {
  prints: "token", step: 1, final_on: "top", transposed: false, limits: "own", from: null, to: null, words_only: false,
  hide_prompt: false, font: 1, span: null, norm: "affine", row_kind: "blocks", borrowed: 0, part: "",
};

export const CHOICES = {
  prints: { token: "token", number: "number", both: "token and number", change: "token where the guess changes" },
  final_on: { top: "on top, or right", bottom: "at the bottom, or left" },
  limits: { own: "as fits the view", auto: "5–95 % of what is shown", shared: "one scale for views of a kind", fixed: "fixed" },
  norm: { affine: "ln_f", plain: "ln_f without gain and bias", none: "none" },
  row_kind: { blocks: "blocks", subblocks: "half-blocks", contributions: "contributions" },
  part: { "": "whole", attn: "only its attn", mlp: "only its mlp" },
};

export const FONTS = [0.8, 1, 1.25, 1.5];

/** What the engine is asked for under these switches. @param {Switches} switches @param {number} n_layer */
export const readOptions = ({ norm, row_kind, borrowed, part }, n_layer) => ({
  norm,
  subblocks: row_kind === "subblocks",
  contributions: row_kind === "contributions",
  // Contributions are decoded by norm and unembedding only.
  decoder: row_kind === "contributions" ? [] : decoderOf(borrowed, part, n_layer),
});

/** The names of the last blocks, or of a part of the last one. @param {number} borrowed @param {Switches["part"]} part @param {number} n_layer */
export function decoderOf(borrowed, part, n_layer) {
  const n = Math.min(Math.max(0, borrowed), n_layer);
  if (n === 1 && part) return [`h.${n_layer - 1}.${part}`];
  return Array.from({ length: n }, (_, i) => `h.${n_layer - n + i}`);
}

/** The window over a text of n tokens: inside it, and never empty. @param {Switches["span"]} span @param {number} n_tokens */
export function spanOf(span, n_tokens) {
  if (!span || span.start >= n_tokens) return { start: 0, end: n_tokens };
  const start = Math.max(0, span.start);
  return { start, end: Math.min(n_tokens, Math.max(start + 1, span.end)) };
}

/** @param {string | null} text */
const number = (text) => (text !== null && text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : null);

/** @template {string} T @param {string | null} text @param {Record<T, string>} choices @param {T} otherwise */
const oneOf = (text, choices, otherwise) => (text !== null && Object.hasOwn(choices, text) ? /** @type {T} */ (text) : otherwise);

/** @param {URLSearchParams} fields @returns {Switches} */
export function parseSwitches(fields) {
  const get = (/** @type {string} */ name) => fields.get(name);
  const count = (/** @type {string} */ name, /** @type {number} */ least) => Math.max(least, Math.floor(number(get(name)) ?? least));
  const [, start, end] = /^(\d+)-(\d+)$/.exec(get("window") ?? "") ?? [];
  const font = number(get("font")) ?? 1;
  return {
    prints: oneOf(get("cells"), CHOICES.prints, "token"),
    step: count("step", 1),
    final_on: oneOf(get("final"), CHOICES.final_on, "top"),
    transposed: get("transposed") === "1",
    limits: oneOf(get("limits"), CHOICES.limits, "own"),
    from: number(get("from")),
    to: number(get("to")),
    words_only: get("words") === "1",
    hide_prompt: get("unprompted") === "1",
    font: FONTS.includes(font) ? font : 1,
    span: start !== undefined && Number(end) > Number(start) ? { start: Number(start), end: Number(end) } : null,
    norm: oneOf(get("norm"), CHOICES.norm, "affine"),
    row_kind: oneOf(get("rows"), CHOICES.row_kind, "blocks"),
    borrowed: count("decoder", 0),
    part: oneOf(get("part"), CHOICES.part, ""),
  };
}

/** Writes what is not as usual. @param {Switches} switches @param {URLSearchParams} fields */
export function writeSwitches(switches, fields) {
  const names = {
    prints: "cells", step: "step", final_on: "final", transposed: "transposed", limits: "limits", from: "from", to: "to",
    words_only: "words", hide_prompt: "unprompted", font: "font", norm: "norm", row_kind: "rows", borrowed: "decoder", part: "part",
  };
  for (const [key, name] of Object.entries(names)) {
    const value = switches[/** @type {keyof typeof names} */ (key)];
    if (value !== DEFAULTS[/** @type {keyof typeof names} */ (key)]) fields.set(name, value === true ? "1" : String(value));
  }
  if (switches.span) fields.set("window", `${switches.span.start}-${switches.span.end}`);
}
