// @ts-check
/** The rows of the Models panel: the bundled model, the catalogue, whatever else is kept, and the one in use. */
import { addressText } from "./address.js";
import { BUNDLED, CATALOGUE, modelName } from "./catalogue.js";

/** @typedef {import("./store.js").Kept} Kept */
/** @typedef {import("./address.js").Address} Address */

/**
 * @typedef {object} Row
 * @property {string} key
 * @property {string} name
 * @property {Address | null} address on the hub
 * @property {string | null} config
 * @property {"f16" | "f32"} precision
 * @property {Kept | null} kept
 * @property {boolean} is_bundled
 * @property {boolean} is_in_use
 * @property {number | null} download_bytes where the hub has said so
 * @property {string} format of its weights on the hub
 */

/** @param {Kept} kept @returns {Address | null} */
export const addressKept = ({ about: { source } }) =>
  source.kind === "hub" ? { id: source.id, revision: source.revision } : null;

/** @param {Address | null} a @param {Address | null} b */
export const isSame = (a, b) => a !== null && b !== null && addressText(a) === addressText(b);

/** Of several copies the whole one, then the smaller. @param {Kept[]} kept @param {Address} address */
export const keptOf = (kept, address) =>
  kept
    .filter((each) => isSame(addressKept(each), address))
    .sort((a, b) => Number(b.about.state === "whole") - Number(a.about.state === "whole") || a.about.bytes - b.about.bytes)[0] ?? null;

/** @param {Address} address @param {string} config @param {Kept | null} kept @param {import("./opening.js").InUse | null} in_use @returns {Row} */
export const hubRow = (address, config, kept, in_use) => ({
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

/** @param {Kept[]} kept @param {import("./opening.js").InUse | null} in_use @returns {Row[]} */
export function menuOf(kept, in_use) {
  const nothing = { address: null, kept: null, is_bundled: false, is_in_use: false, download_bytes: null, format: "" };
  const bundled = { ...nothing, key: "bundled", ...BUNDLED, precision: /** @type {const} */ ("f16"), is_bundled: true, is_in_use: in_use?.source.kind === "bundled" };
  const known = CATALOGUE.map(({ id, config }) => {
    const address = { id, revision: "main" };
    return hubRow(address, config, keptOf(kept, address), in_use);
  });
  const others = kept
    .filter((each) => !known.some((row) => row.kept === each))
    .map((each) => {
      const { name, precision } = each.about;
      const is_in_use = in_use?.source.kind === "kept" && in_use.source.key === each.key;
      return { ...nothing, key: each.key, name: precision === "f16" ? name : `${name} · ${precision}`, address: addressKept(each), config: each.config, precision, kept: each, is_in_use };
    });
  const rows = [bundled, ...known, ...others];
  if (!in_use || rows.some((row) => row.is_in_use)) return rows;
  const { name, precision, address } = in_use;
  return [...rows, { ...nothing, key: "in-use", name, address, config: null, precision, is_in_use: true }];
}
