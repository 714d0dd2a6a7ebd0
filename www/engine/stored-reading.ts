/** A reading of the bundled model that transformers made, with which the engine's own is compared. */
import type { Loupe, Statistic } from "../../src/web/types.d.ts";
import type { StoredCheck } from "./protocol.ts";

/** The file beside the model: tests/golden/stored.py writes it. */
interface Stored {
  /** who made it */
  source: string;
  ids: number[];
  /** null where there is no number */
  statistics: Partial<Record<Statistic, (number | null)[]>>;
}

/** Reads the stored text and compares; null without the file. Errors: those of a reading. */
export async function compareWithStored(loupe: Loupe, url: string, signal: AbortSignal): Promise<StoredCheck | null> {
  const stored = await fetch(url, { signal }).then(
    (response) => (response.ok ? (response.json() as Promise<Stored>) : null),
    () => null,
  );
  signal.throwIfAborted();
  if (!stored) return null;
  const reading = await loupe.read(Uint32Array.from(stored.ids), { signal });
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
