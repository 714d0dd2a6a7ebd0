/** Files that have the counts of tokens already: two columns, one number a line, or JSON. Pure. */
import { LoupeError } from "../../engine/errors.ts";
import { integer } from "../../lib/format.ts";
import { bytesOf } from "./returned-tokens.ts";
import type { Bytes } from "./returned-tokens.ts";

export type Texts = Bytes & { shown: string[] };

/** One count. */
type Row = {
  /** what it counts; null: by its place */
  key: string | null;
  value: unknown;
  /** whether what it counts may be a text */
  has_text: boolean;
  /** in messages */
  at: string;
  written: string;
};

/** So many rows tell what a file holds. */
const N_SAMPLE = 20;
/** The text of several tokens. */
const SEVERAL = -1;
/** So much of a faulty row is quoted. */
const MAX_QUOTED = 40;

const NUMBER = /^[-+]?(?:\d*\.?\d+(?:e[-+]?\d+)?|nan|inf(?:inity)?)$/i;
/** Between an id and its count, the token's text may stand. */
const ID = /^\s*(\d+)\s*(?:\t.*|,\s*".*")?$/s;
const JSON_START = /^\s*(?:\[\s*[-\d\]]|\{\s*["}])/;
/** Two numbers or counts, or all that there is: a text may begin like JSON. */
const JSON_COUNTS =
  /^\s*(?:\[\s*[-+.\de]+\s*,\s*[-.\d]|\{\s*"(?:[^"\\]|\\.)*"\s*:\s*[-+.\de]+\s*(?:,\s*"(?:[^"\\]|\\.)*"\s*:\s*[-.\d]|\}\s*$))/i;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const quote = (text: string) => `“${text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}…` : text}”`;
const wrong = (at: string, expected: string, found: string) =>
  new LoupeError("bad-counts", `${at}: expected ${expected}, found ${found}.`);

function rowOf(line: string, i: number): Row {
  const has_text = line.includes("\t");
  const [, key = null, value = line] = (has_text ? /^(.*)\t(.*)$/s : /^(.*),(.*)$/s).exec(line) ??
    /^(.*\S)\s+(\S+)\s*$/.exec(line) ?? [""];
  return { key, value: value.trim(), has_text, at: `Line ${integer(i + 1)}`, written: line };
}

function rowsOfLines(text: string) {
  const rows = text
    .split(/\r\n|\n|\r/)
    .map(rowOf)
    .filter(({ written }) => written.trim() !== "");
  const begin = rows.findIndex(({ written }) => !/^# [^\t]*$/.test(written));
  const is_head = begin >= 0 && !ID.test(rows[begin].key ?? "") && isName(rows[begin].value);
  return begin < 0 ? [] : rows.slice(begin + Number(is_head));
}

/** Whether it is the head of a column. */
const isName = (value: unknown) => /^["\p{L}_]/u.test(String(value)) && !NUMBER.test(String(value));

function rowsOfJson(text: string): Row[] {
  let parsed: object;
  try {
    parsed = JSON.parse(text) as object;
  } catch (error) {
    throw new LoupeError("bad-counts", `Expected JSON, which this is not: ${(error as Error).message}.`);
  }
  const is_list = Array.isArray(parsed);
  return Object.entries(parsed).map(([key, value], i) => {
    const written = typeof value === "number" ? String(value) : JSON.stringify(value);
    return {
      key: is_list ? null : key,
      value: typeof value === "number" ? value : NaN,
      has_text: true,
      at: `${is_list ? "Number" : "Entry"} ${integer(i + 1)}`,
      written: is_list ? written : `${JSON.stringify(key)}: ${written}`,
    };
  });
}

function countOf({ value, at, written }: Row) {
  const count = value === "" ? NaN : Number(value);
  if (!(count >= 0 && count < Infinity)) throw wrong(at, "a finite number of 0 or more as the count", quote(written));
  return count;
}

/** Each token by its text, and by what the page shows of it. */
function idsByText(vocabulary: Texts) {
  const ids: Map<string, number> = new Map();
  const add = (text: string, id: number) => ids.set(text, (ids.get(text) ?? id) === id ? id : SEVERAL);
  vocabulary.shown.forEach((shown, id) => {
    add(shown, id);
    try {
      add(utf8.decode(bytesOf(vocabulary, id)), id);
    } catch {
      // Part of a character has no text of its own.
    }
  });
  return ids;
}

const isById = (sample: Row[]) => 2 * sample.filter(({ key }) => ID.test(key ?? "")).length >= sample.length;

/** Finds the token that a row counts. */
function finderOf(by_id: boolean, vocabulary: Texts) {
  const n = vocabulary.shown.length;
  let ids: Map<string, number> | null = null;
  return ({ key, has_text, at, written }: Row) => {
    if (by_id) {
      const id = Number(ID.exec(key ?? "")?.[1] ?? NaN);
      if (!(id < n)) throw wrong(at, `a token id below ${integer(n)} and its count`, quote(written));
      return id;
    }
    ids ??= idsByText(vocabulary);
    const id = has_text ? ids.get(key ?? "") : undefined;
    if (id === undefined) throw wrong(at, "a token id, or a token’s text and a tab, and its count", quote(written));
    if (id === SEVERAL) throw wrong(at, "the text of one token", `${quote(key ?? "")}, which is that of several`);
    return id;
  };
}

/**
 * Whether a file looks like counts, and not like a text.
 * @param head how it begins
 * @param is_cut whether more follows
 */
export function looksLikeCounts(head: string, is_cut: boolean, vocabulary: Texts) {
  if (JSON_START.test(head)) return JSON_COUNTS.test(head);
  const rows = rowsOfLines(head);
  const sample = rows.slice(0, Math.min(N_SAMPLE, rows.length - Number(is_cut)));
  if (sample.length < 2) return false;
  if (sample[0].key === null) return sample.every(({ key, value }) => key === null && NUMBER.test(String(value)));
  const idOf = finderOf(isById(sample), vocabulary);
  const isGood = (row: Row) => {
    try {
      return idOf(row) >= 0 && countOf(row) >= 0;
    } catch {
      return false;
    }
  };
  return 2 * sample.filter(isGood).length > sample.length;
}

/** @returns `form`: how the file was understood */
export function countsOf(text: string, vocabulary: Texts): { counts: Float64Array; form: string } {
  const n = vocabulary.shown.length;
  const is_json = JSON_START.test(text);
  const rows = is_json ? rowsOfJson(text) : rowsOfLines(text);
  const counts = new Float64Array(n);
  if (rows.length === 0) throw new LoupeError("bad-counts", "Expected counts, found none.");
  if (rows[0].key === null) {
    const values = rows.map((row) => {
      if (row.key !== null) throw wrong(row.at, "one number, as in the lines before", quote(row.written));
      return countOf(row);
    });
    if (values.length !== n)
      throw new LoupeError(
        "bad-counts",
        `Expected ${integer(n)} numbers, one for each token of the vocabulary, found ${integer(values.length)}.`,
      );
    counts.set(values);
    return { counts, form: is_json ? "a JSON array" : "one number a line" };
  }
  // The keys of a JSON object that are numbers come first, whatever the others are.
  const by_id = is_json ? rows.every(({ key }) => ID.test(key ?? "")) : isById(rows.slice(0, N_SAMPLE));
  const idOf = finderOf(by_id, vocabulary);
  const known: Set<number> = new Set();
  for (const row of rows) {
    const id = idOf(row);
    if (known.has(id)) throw wrong(row.at, "each token once", `token ${id} again`);
    known.add(id);
    counts[id] = countOf(row);
  }
  return { counts, form: `${is_json ? "a JSON object" : "two columns"}, token ${by_id ? "id" : "text"} and count` };
}
