/** Which tokens and channels the matrix shows, in which order, as its options say. */
import { descending, inOrder, parseIndices } from "../stats/orders.ts";
import type { Stage } from "../types.ts";

/** `values`: what it is ordered by, if not by number */
export type Ordered = { order: Uint32Array; values: ArrayLike<number> | null; title: string };
export type Given = Pick<Stage, "ask" | "selection" | "options">;

const all = (values: ArrayLike<number>, title: string): Ordered => ({ order: descending(values), values, title });

export async function tokenOrder({ ask, selection, options }: Given, norms: Float32Array): Promise<Ordered> {
  const some = (ids: Iterable<number>, title: string) => ({
    order: Uint32Array.from(ids).filter((id) => id < norms.length),
    values: null,
    title,
  });
  switch (options.get("tokens")) {
    case "norm":
      return all(norms, "tokens, longest embedding first");
    case "channel":
      return all(await ask.channel(selection.channel), `tokens, by their value in channel ${selection.channel}`);
    case "selected":
      return some(
        [...selection.tokens].sort((a, b) => a - b),
        "selected tokens, by id",
      );
    case "range":
      return some(parseIndices(options.get("range") ?? "0-255", norms.length), "tokens, by id");
    case "typed":
      return some(
        (options.get("typed") ?? "")
          .split(".")
          .filter((id) => /^\d{1,9}$/.test(id))
          .map(Number),
        "tokens typed in",
      );
    default:
      return { order: inOrder(norms.length), values: null, title: "tokens, by id" };
  }
}

export async function channelOrder({ ask, selection, options }: Given): Promise<Ordered> {
  const { wte_mean, wte_std, wpe_std } = await ask.channels();
  const n = wte_mean.length;
  switch (options.get("channels")) {
    case "wpe":
      return wpe_std.length === n
        ? all(wpe_std, "channels, largest std(wpe) first")
        : { order: inOrder(n), values: null, title: "channels, by index (this file has no wpe)" };
    case "wte":
      return all(wte_std, "channels, largest std(wte) first");
    case "mean":
      return all(wte_mean, "channels, largest mean first");
    case "chosen":
      return {
        order: parseIndices(options.get("chosen") ?? String(selection.channel), n),
        values: null,
        title: "chosen channels",
      };
    default:
      return { order: inOrder(n), values: null, title: "channels, by index" };
  }
}
