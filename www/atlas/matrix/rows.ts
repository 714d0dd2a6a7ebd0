/** Rows of wte that were asked for, so that moving back and forth asks for nothing twice. */
import type { Watch } from "../queries.ts";

export type RowStore = ReturnType<typeof createRowStore>;

const MAX_BYTES = 64 << 20;
/** So many come at once, so that a picture fills in pieces. */
const PIECE = 1024;

/** @param ask at most 4,096 rows, one after the other */
export function createRowStore(ask: (ids: number[], watch: Watch) => Promise<Float32Array>) {
  /** The oldest first. */
  const rows: Map<number, Float32Array> = new Map();
  let bytes = 0;

  return {
    has: (id: number) => rows.has(id),
    get: (id: number) => rows.get(id),
    missing: (ids: number[]) => [...new Set(ids)].filter((id) => !rows.has(id)),

    /**
     * Gets those that are not there yet.
     * @param onPiece after each piece but the last
     */
    async want(ids: number[], { signal, onProgress }: Watch, onPiece?: () => void) {
      const wanted = this.missing(ids);
      for (let from = 0; from < wanted.length; from += PIECE) {
        const piece = wanted.slice(from, from + PIECE);
        const values = await ask(piece, { signal });
        const n = values.length / piece.length;
        piece.forEach((id, i) => {
          rows.set(id, values.slice(i * n, (i + 1) * n));
          bytes += 4 * n;
        });
        for (const [id, row] of rows) {
          if (bytes <= MAX_BYTES) break;
          rows.delete(id);
          bytes -= row.byteLength;
        }
        onProgress?.({ done: (from + piece.length) / wanted.length });
        if (from + PIECE < wanted.length) onPiece?.();
      }
    },
  };
}
