/**
 * Everything that a person can switch about the picture, as data: names, values, defaults, and how each is written in
 * the address. Pure.
 */
import type { Prints } from "../reading/cell-text.ts";
import type { Limits } from "../reading/scales.ts";

export type Norm = "affine" | "plain" | "none";
export type RowKind = "blocks" | "subblocks" | "contributions";

export interface Switches {
  prints: Prints;
  /** show each n-th block, counted from the last */
  step: number;
  final_on: "top" | "bottom";
  transposed: boolean;
  limits: Limits;
  /** of fixed limits */
  from: number | null;
  to: number | null;
  words_only: boolean;
  hide_prompt: boolean;
  /** 1 is the usual size */
  font: number;
  /** the window of positions; null shows all */
  span: { start: number; end: number } | null;
  norm: Norm;
  row_kind: RowKind;
  /** how many of the last blocks belong to the decoder */
  borrowed: number;
  /** of the last block, where only one block is borrowed */
  part: "" | "attn" | "mlp";
  /** what is read of a text that is too long */
  kept: "first" | "last";
  /** whether the token that stands between documents is read before the text */
  with_end_token: boolean;
}

export const DEFAULTS: Switches = {
  prints: "token",
  step: 1,
  final_on: "top",
  transposed: false,
  limits: "own",
  from: null,
  to: null,
  words_only: false,
  hide_prompt: false,
  font: 1,
  span: null,
  norm: "affine",
  row_kind: "blocks",
  borrowed: 0,
  part: "",
  kept: "first",
  with_end_token: false,
};

export const CHOICES = {
  prints: { token: "token", number: "number", both: "token and number", change: "token where the guess changes" },
  final_on: { top: "on top, or right", bottom: "at the bottom, or left" },
  limits: {
    own: "default",
    auto: "5–95 % of what is shown",
    shared: "shared by similar views",
    post: "0–30 nats for KL, as in the post",
    fixed: "fixed",
  },
  norm: { affine: "ln_f", plain: "ln_f without gain and bias", none: "none" },
  row_kind: { blocks: "blocks", subblocks: "half-blocks", contributions: "contributions" },
  kept: { first: "its first tokens", last: "its last tokens" },
  part: { "": "whole", attn: "only its attn", mlp: "only its mlp" },
};

export const FONTS = [0.8, 1, 1.25, 1.5];

/** What the engine is asked for under these switches. */
export const readOptions = ({ norm, row_kind, borrowed, part }: Switches, n_layer: number) => ({
  norm,
  subblocks: row_kind === "subblocks",
  contributions: row_kind === "contributions",
  // Contributions are decoded by norm and unembedding only.
  decoder: row_kind === "contributions" ? [] : decoderOf(borrowed, part, n_layer),
});

/** The names of the last blocks, or of a part of the last one. */
export function decoderOf(borrowed: number, part: Switches["part"], n_layer: number) {
  const n = Math.min(Math.max(0, borrowed), n_layer);
  if (n === 1 && part) return [`h.${n_layer - 1}.${part}`];
  return Array.from({ length: n }, (_, i) => `h.${n_layer - n + i}`);
}

/** The window over a text of n tokens: inside it, and never empty. */
export function spanOf(span: Switches["span"], n_tokens: number) {
  if (!span || span.start >= n_tokens) return { start: 0, end: n_tokens };
  const start = Math.max(0, span.start);
  return { start, end: Math.min(n_tokens, Math.max(start + 1, span.end)) };
}

const number = (text: string | null) =>
  text !== null && text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : null;

const oneOf = <T extends string>(text: string | null, choices: Record<T, string>, otherwise: T) =>
  text !== null && Object.hasOwn(choices, text) ? (text as T) : otherwise;

export function parseSwitches(fields: URLSearchParams): Switches {
  const get = (name: string) => fields.get(name);
  const count = (name: string, least: number) => Math.max(least, Math.floor(number(get(name)) ?? least));
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
    kept: oneOf(get("kept"), CHOICES.kept, "first"),
    with_end_token: get("endoftext") === "1",
  };
}

/** Writes what is not as usual. */
export function writeSwitches(switches: Switches, fields: URLSearchParams) {
  const names = {
    prints: "cells",
    step: "step",
    final_on: "final",
    transposed: "transposed",
    limits: "limits",
    from: "from",
    to: "to",
    words_only: "words",
    hide_prompt: "unprompted",
    font: "font",
    norm: "norm",
    row_kind: "rows",
    borrowed: "decoder",
    part: "part",
    kept: "kept",
    with_end_token: "endoftext",
  };
  for (const [key, name] of Object.entries(names)) {
    const value = switches[key as keyof typeof names];
    if (value !== DEFAULTS[key as keyof typeof names]) fields.set(name, value === true ? "1" : String(value));
  }
  if (switches.span) fields.set("window", `${switches.span.start}-${switches.span.end}`);
}
