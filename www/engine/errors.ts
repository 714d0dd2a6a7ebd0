/**
 * How a failure crosses from the worker: structured cloning drops an Error's own fields, and the page
 * branches on `code`, so results and failures travel as plain outcomes.
 */

export type Outcome<T> = { ok: true; value: T } | { ok: false; code: string; message: string };

/** An Error with the engine's name and a stable code. */
export class LoupeError extends Error {
  override readonly name = "LoupeError";
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** Codes of an engine that answers nothing any more; another one does. */
export const ENDED = ["crashed", "device-lost"];

/** The code of any thrown value; `unexpected` for what no contract names. */
export const codeOf = (error: unknown): string => {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "unexpected";
};

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Runs a step and returns what became of it. */
export async function outcomeOf<T>(step: () => T | Promise<T>): Promise<Outcome<T>> {
  try {
    return { ok: true, value: await step() };
  } catch (error) {
    return { ok: false, code: codeOf(error), message: messageOf(error) };
  }
}

/** The value of an outcome, or its failure thrown again. */
export function valueOf<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value;
  throw new LoupeError(outcome.code, outcome.message);
}
