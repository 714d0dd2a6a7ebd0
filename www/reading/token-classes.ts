/** Sets of tokens: classes that divide the vocabulary, and those that a person names by an expression. Pure. */

/** Every token's bytes, one after the other; `ends` says where each one ends. */
export type Vocabulary = { bytes: Uint8Array; ends: Uint32Array };
export type TokenSet = { name: string; ids: Uint32Array };

/** In this order: a token belongs to the first class that it fits. */
const CLASSES: [name: string, is: (token: { text: string | null; is_in_text: boolean }) => boolean][] = [
  ["in this text", ({ is_in_text }) => is_in_text],
  ["parts of characters", ({ text }) => text === null],
  ["digits", ({ text }) => /^\s*\p{N}+$/u.test(text ?? "")],
  ["punctuation", ({ text }) => /^\s*[\p{P}\p{S}]+$/u.test(text ?? "")],
  ["words with a space before", ({ text }) => /^\s+\p{L}/u.test(text ?? "")],
  ["words without", ({ text }) => /^\p{L}/u.test(text ?? "")],
  ["all others", () => true],
];

/** The text of every token; null where its bytes are only a part of a character. */
export function textsOf({ bytes, ends }: Vocabulary): (string | null)[] {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  return Array.from(ends, (end, id) => {
    try {
      return decoder.decode(bytes.subarray(id === 0 ? 0 : ends[id - 1], end));
    } catch {
      return null;
    }
  });
}

/** The classes of a vocabulary, without those that are empty; together they are all of it. */
export function classesOf(texts: (string | null)[], in_text: ReadonlySet<number>): TokenSet[] {
  const ids: number[][] = CLASSES.map(() => []);
  texts.forEach((text, id) => {
    const token = { text, is_in_text: in_text.has(id) };
    ids[CLASSES.findIndex(([, is]) => is(token))].push(id);
  });
  return CLASSES.flatMap(([name], i) => (ids[i].length === 0 ? [] : [{ name, ids: Uint32Array.from(ids[i]) }]));
}

/** Longest expression that is tried on every token. */
const MAX_EXPRESSION = 200;

/**
 * The tokens whose text an expression matches.
 *
 * Errors: a RangeError that says what is wrong.
 */
export function matchingSet(texts: (string | null)[], expression: string): TokenSet {
  if (expression.length > MAX_EXPRESSION)
    throw new RangeError(`The expression: expected at most ${MAX_EXPRESSION} characters.`);
  let pattern: RegExp;
  try {
    pattern = new RegExp(expression, "u");
  } catch (error) {
    throw new RangeError(`The expression: ${(error as Error).message}`, { cause: error });
  }
  const ids = texts.flatMap((text, id) => (text !== null && pattern.test(text) ? [id] : []));
  if (ids.length === 0) throw new RangeError(`No token matches /${expression}/.`);
  return { name: `/${expression}/`, ids: Uint32Array.from(ids) };
}
