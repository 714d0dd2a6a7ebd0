/** The rows of the Models panel: the bundled model, the catalogue, whatever else is kept, and the one in use. */
import { addressText } from "../sources/hub-address.ts";
import { BUNDLED, CATALOGUE, modelName } from "../sources/catalogue.ts";
import type { Address, InUse } from "../lib/model.ts";
import type { Kept } from "../engine/protocol.ts";

export interface Row {
  key: string;
  name: string;
  /** on the hub */
  address: Address | null;
  config: string | null;
  precision: "f16" | "f32";
  kept: Kept | null;
  is_bundled: boolean;
  is_in_use: boolean;
  /** where the hub has said so */
  download_bytes: number | null;
  /** of its weights on the hub */
  format: string;
}

export const addressKept = ({ about: { source } }: Kept): Address | null =>
  source.kind === "hub" ? { id: source.id, revision: source.revision } : null;

export const isSame = (a: Address | null, b: Address | null) =>
  a !== null && b !== null && addressText(a) === addressText(b);

/** Of several copies the whole one, then the smaller. */
export const keptOf = (kept: Kept[], address: Address) =>
  kept
    .filter((each) => isSame(addressKept(each), address))
    .sort(
      (a, b) => Number(b.about.state === "whole") - Number(a.about.state === "whole") || a.about.bytes - b.about.bytes,
    )[0] ?? null;

export const hubRow = (address: Address, config: string, kept: Kept | null, in_use: InUse | null): Row => ({
  key: addressText(address),
  name: modelName(address),
  address,
  config,
  precision: kept?.about.precision ?? "f16",
  kept,
  is_bundled: false,
  is_in_use: isSame(in_use?.address ?? null, address),
  download_bytes: null,
  format: CATALOGUE.find(({ id }) => id === address.id)?.format ?? "safetensors",
});

export function menuOf(kept: Kept[], in_use: InUse | null): Row[] {
  const nothing = { address: null, kept: null, is_bundled: false, is_in_use: false, download_bytes: null, format: "" };
  const bundled = {
    ...nothing,
    key: "bundled",
    ...BUNDLED,
    precision: "f16" as const,
    is_bundled: true,
    is_in_use: in_use?.source.kind === "bundled",
  };
  const known = CATALOGUE.map(({ id, config }) => {
    const address = { id, revision: "main" };
    return hubRow(address, config, keptOf(kept, address), in_use);
  });
  const others = kept
    .filter((each) => !known.some((row) => row.kept === each))
    .map((each) => {
      const { name, precision } = each.about;
      const is_in_use = in_use?.source.kind === "kept" && in_use.source.key === each.key;
      return {
        ...nothing,
        key: each.key,
        name: precision === "f16" ? name : `${name} · ${precision}`,
        address: addressKept(each),
        config: each.config,
        precision,
        kept: each,
        is_in_use,
      };
    });
  const rows = [bundled, ...known, ...others];
  if (!in_use || rows.some((row) => row.is_in_use)) return rows;
  const { name, precision, address } = in_use;
  return [...rows, { ...nothing, key: "in-use", name, address, config: null, precision, is_in_use: true }];
}
