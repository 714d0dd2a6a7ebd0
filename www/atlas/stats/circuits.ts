/** How strongly the parts of each block read or write one channel, against the median channel. Pure. */
import { median } from "d3-array";

/** What the engine says of all channels: [L, names, C]. */
type Circuits = { names: string[]; strengths: Float32Array };
/** Written by outputs of heads (and the MLP's), or read by queries, keys or values (and the MLP). */
export type CircuitKind = "o" | "q" | "k" | "v";

/** Of each block the heads and then the MLP; ratios [L, columns]. */
export function strengthsOf(
  { names, strengths }: Circuits,
  { channel, n_embd, kind }: { channel: number; n_embd: number; kind: CircuitKind },
) {
  const wanted = [...names.keys()].filter(
    (i) => names[i].startsWith(`${kind}.`) || names[i] === (kind === "o" ? "out" : "in"),
  );
  const n_layer = strengths.length / (names.length * n_embd);
  const ratios = Float32Array.from({ length: n_layer * wanted.length }, (_, i) => {
    const first = (Math.floor(i / wanted.length) * names.length + wanted[i % wanted.length]) * n_embd;
    const row = strengths.subarray(first, first + n_embd);
    return row[channel] / (median(row) ?? NaN);
  });
  return { columns: wanted.map((i) => names[i].replace(`${kind}.`, "").replace(/^(in|out)$/, "mlp")), n_layer, ratios };
}
