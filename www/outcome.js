// @ts-check
/**
 * How a failure crosses from the worker: structured cloning drops an Error's own fields, and the page
 * branches on `code`, so results and failures travel as plain outcomes.
 */

/** @template T @typedef {{ ok: true, value: T } | { ok: false, code: string, message: string }} Outcome */

/** An Error with the engine's name and a stable code. */
export class LoupeError extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.name = "LoupeError";
    this.code = code;
  }
}

/** The code of any thrown value; `unexpected` for what no contract names. @param {unknown} error @returns {string} */
export const codeOf = (error) => {
  const code = /** @type {any} */ (error)?.code;
  return typeof code === "string" ? code : "unexpected";
};

/** @param {unknown} error @returns {string} */
const messageOf = (error) => (error instanceof Error ? error.message : String(error));

/**
 * Runs a step and returns what became of it.
 * @template T
 * @param {() => T | Promise<T>} step
 * @returns {Promise<Outcome<T>>}
 */
export async function outcomeOf(step) {
  try {
    return { ok: true, value: await step() };
  } catch (error) {
    return { ok: false, code: codeOf(error), message: messageOf(error) };
  }
}

/** The value of an outcome, or its failure thrown again. @template T @param {Outcome<T>} outcome @returns {T} */
export function valueOf(outcome) {
  if (outcome.ok) return outcome.value;
  throw new LoupeError(outcome.code, outcome.message);
}
