/**
 * A reading, or two that are compared, as CSV and JSON. Pure. CSV: lines with `#` say what it is, then one line per cell of
 * the first text; text is quoted, text that a spreadsheet would take for a formula gets an apostrophe before it, and
 * control characters become pictures of themselves; the columns of bytes have them as they are. JSON: everything, arrays
 * as [row][position].
 */
import { targetsOf } from "../reading/comparison.ts";
import { NO_TOKEN, partRead, tokenById, topId } from "../reading/reading.ts";
import type { PlainReading, Token } from "../reading/reading.ts";
import type { Comparison, Scores } from "../reading/comparison.ts";

/** What a table says about its origin. */
export type Origin = {
  model: Record<string, string | number | boolean | null>;
  adapter: Record<string, string | number | boolean>;
  made_by: string;
};

/** Single-precision numbers in the digits that bring them back. */
const number = (value: number) => (Number.isFinite(value) ? Number(value.toPrecision(9)) : null);

/** Control characters, but for tabs and line ends, as the pictures that Unicode has of them. */
const printable = (text: string) =>
  text.replace(/[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/g, (character) =>
    String.fromCodePoint(character === "\x7f" ? 0x2421 : 0x2400 + character.charCodeAt(0)),
  );

export function quoted(text: string) {
  // Also after spaces, tabs and line ends, which spreadsheets skip.
  const safe = /^\s*[=+\-@]/.test(text) || /^[\t\r]/.test(text) ? `'${text}` : text;
  return `"${printable(safe).replaceAll('"', '""')}"`;
}

const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");

const cellNames = (reading: PlainReading) => [
  "top_id",
  "top_token",
  "top_bytes",
  ...Object.keys(reading.stats),
  ...Object.values(reading.tracked).flatMap(({ id }) => [`logit_${id}`, `logprob_${id}`, `rank_${id}`]),
];

/** What a reading says of a cell, in the order of `cellNames`. */
function cellFields(reading: PlainReading, tap: number, position: number) {
  const top = tokenById(reading, topId(reading, { tap, position }));
  const i = tap * reading.n_tokens + position;
  return [
    top.id === NO_TOKEN ? "" : top.id,
    quoted(top.text),
    hex(top.bytes),
    ...Object.values(reading.stats).map((values) => number(values[i]) ?? ""),
    ...Object.values(reading.tracked).flatMap(({ logit, logprob, rank }) =>
      [logit, logprob, rank].map((values) => number(values[i]) ?? ""),
    ),
  ];
}

const SCORES = ["logit", "logprob", "rank"] as const;
const DIVERGENCES = { kl: "kl_first_second", kl_reverse: "kl_second_first", js: "jensen_shannon" } as const;
/** The tokens that a comparison scores in both texts, in the order of `targetsOf`. */
const TARGETS = ["first_final", "first_next"];

const comparedNames = ({ second }: Comparison) => [
  "second_position",
  ...cellNames(second).map((name) => `second_${name}`),
  ...Object.values(DIVERGENCES),
  ...TARGETS.flatMap((target) => [
    `${target}_id`,
    ...["", "second_"].flatMap((side) => SCORES.map((score) => `${side}${target}_${score}`)),
  ]),
];

/**
 * What a comparison says of a cell of the first text, in the order of `comparedNames`; nothing where it is not
 * compared.
 */
function comparedFields(comparison: Comparison, targets: Uint32Array[], tap: number, position: number) {
  const { second, columns, column_of, divergences } = comparison;
  const column = column_of[position];
  if (column < 0) return comparedNames(comparison).map(() => "");
  const i = tap * columns.length + column;
  return [
    columns[column][1],
    ...cellFields(second, tap, columns[column][1]),
    ...Object.keys(DIVERGENCES).map((name) => number(divergences[name as keyof typeof DIVERGENCES][i]) ?? ""),
    ...divergences.targets.flatMap(({ a, b }, target) => [
      targets[target][column] === NO_TOKEN ? "" : targets[target][column],
      ...[a, b].flatMap((scores) => SCORES.map((score) => number(scores[score][i]) ?? "")),
    ]),
  ];
}

/** @param comparison whose first reading that is */
export function csvOf(
  reading: PlainReading,
  { model, adapter, made_by }: Origin,
  comparison: Comparison | null = null,
) {
  const facts = {
    made_by,
    ...model,
    ...Object.fromEntries(Object.entries(adapter).map(([key, value]) => [`adapter_${key}`, value])),
    ...reading.asked,
    part_read: partRead(reading) ?? "all",
    final_is_model: reading.final_is_model,
    ...(comparison ? { second_text: comparison.second.tokens.map(({ text }) => text).join("") } : {}),
  };
  const notes = Object.entries(facts).map(
    ([key, value]) =>
      `# ${key}: ${printable(String(Array.isArray(value) ? value.join(" ") : (value ?? "")).replace(/[\r\n]+/g, " "))}`,
  );
  const head = [
    "row",
    "position",
    "token_id",
    "token",
    "token_bytes",
    "next_id",
    ...cellNames(reading),
    ...(comparison ? comparedNames(comparison) : []),
  ];
  const targets = comparison ? targetsOf(comparison.first, comparison.columns) : [];
  const lines = reading.taps.flatMap((name, tap) =>
    reading.tokens.map((token, position) =>
      [
        name,
        position,
        token.id,
        quoted(token.text),
        hex(token.bytes),
        reading.tokens[position + 1]?.id ?? "",
        ...cellFields(reading, tap, position),
        ...(comparison ? comparedFields(comparison, targets, tap, position) : []),
      ].join(","),
    ),
  );
  return [...notes, head.join(","), ...lines, ""].join("\r\n");
}

/** Values as [row][column]. */
const tableOf = (values: ArrayLike<number>, n_rows: number, n_columns: number) =>
  Array.from({ length: n_rows }, (_, row) =>
    Array.from({ length: n_columns }, (_, column) => number(values[row * n_columns + column])),
  );

/** All that a reading says. */
function bodyOf(reading: PlainReading) {
  const { n_tokens, top_k, taps } = reading;
  const table = (values: ArrayLike<number>) => tableOf(values, taps.length, n_tokens);
  const lists = (values: ArrayLike<number>) =>
    taps.map((_, tap) =>
      Array.from({ length: n_tokens }, (_, position) =>
        Array.from({ length: top_k }, (_, k) => number(values[(tap * n_tokens + position) * top_k + k])),
      ),
    );
  const token = ({ id, text, bytes, shown }: Token) => ({ id, text, bytes: Array.from(bytes), shown });
  return {
    options: reading.asked,
    part_read: partRead(reading),
    final_is_model: reading.final_is_model,
    not_finite: reading.not_finite,
    text: reading.tokens.map(({ text }) => text).join(""),
    tokens: reading.tokens.map(token),
    rows: taps,
    statistics: Object.fromEntries(Object.entries(reading.stats).map(([name, values]) => [name, table(values)])),
    tracked: Object.values(reading.tracked).map(({ id, logit, logprob, rank }) => ({
      id,
      logit: table(logit),
      logprob: table(logprob),
      rank: table(rank),
    })),
    top_ids: lists(Array.from(reading.top_ids, (id) => (id === NO_TOKEN ? NaN : id))),
    top_logits: lists(reading.top_logits),
    vocabulary: reading.top_tokens.map(token),
  };
}

export const jsonOf = (reading: PlainReading, origin: Origin) =>
  JSON.stringify({ format: "loupe-reading", version: 1, ...origin, ...bodyOf(reading) });

/** Two readings and how they differ at their columns, arrays as [row][column]. */
export function comparisonJson({ first, second, columns, divergences }: Comparison, origin: Origin) {
  const table = (values: ArrayLike<number>) => tableOf(values, first.taps.length, columns.length);
  const scores = (of: Scores) => Object.fromEntries(SCORES.map((score) => [score, table(of[score])]));
  const ids = targetsOf(first, columns).map((list) => Array.from(list, (id) => (id === NO_TOKEN ? null : id)));
  return JSON.stringify({
    format: "loupe-comparison",
    version: 1,
    ...origin,
    first: bodyOf(first),
    second: bodyOf(second),
    columns,
    ...Object.fromEntries(
      Object.entries(DIVERGENCES).map(([name, key]) => [key, table(divergences[name as keyof typeof DIVERGENCES])]),
    ),
    targets: Object.fromEntries(
      divergences.targets.map(({ a, b }, i) => [TARGETS[i], { ids: ids[i], first: scores(a), second: scores(b) }]),
    ),
  });
}
