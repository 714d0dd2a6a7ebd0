/** A reading of the bundled model that transformers made, with which the engine's own is compared. */
import { throwIfAborted } from "./retry.ts";
import { LoupeError } from "../engine/errors.ts";
import type { Loupe, Statistic } from "../../src/web/types.d.ts";
import type { StoredCheck } from "../engine/protocol.ts";

/** The file beside the model: tests/golden/stored.py writes it. */
interface Stored {
  /** who made it */
  source: string;
  ids: number[];
  /** null where there is no number */
  statistics: Partial<Record<Statistic, (number | null)[]>>;
}

/** Reads the stored text and compares. Errors: `network`, `aborted`, and those of a reading. */
export async function compareWithStored(loupe: Loupe, url: string, signal: AbortSignal): Promise<StoredCheck> {
  let stored: Stored;
  try {
    const response = await fetch(url, { signal });
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    stored = (await response.json()) as Stored;
  } catch (error) {
    throwIfAborted(signal);
    throw new LoupeError("network", `${url} could not be read: ${(error as Error).message}`);
  }
  const reading = await loupe.read(Uint32Array.from(stored.ids), { signal, aside: true });
  let [numbers, largest] = [0, 0];
  for (const [name, values] of Object.entries(stored.statistics)) {
    const ours = reading.stat(name as Statistic);
    for (const [i, value] of values.entries()) {
      if (value === null) continue;
      const apart = Math.abs(ours[i] - value);
      // What is not a number is infinitely far from one.
      largest = Math.max(largest, Number.isNaN(apart) ? Infinity : apart);
      numbers++;
    }
  }
  reading.free();
  return { source: stored.source, numbers, largest };
}
