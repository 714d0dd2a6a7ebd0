// @ts-check
/** From what a person chose to what the engine's `load` takes: the texts, the weights, and where they may be kept. */
import { BUNDLED, modelName } from "./catalogue.js";
import { fetchModel } from "./download.js";
import { filesKey, sortFiles } from "./files.js";
import { fetchTokenizer, lookUp } from "./hub.js";
import { LoupeError } from "./outcome.js";
import { findKept, hubKey, openKept } from "./store.js";
import { openFile } from "./transfer.js";

/** @typedef {import("./patience.js").Watch} Watch */
/** @typedef {"f16" | "f32"} Precision */

/**
 * What to open. A kept model that is unfinished is resumed; its hub files come from the same commit.
 * @typedef {{ kind: "bundled" } | { kind: "kept", key: string } | { kind: "hub", id: string, revision: string } | { kind: "files", name: string, files: File[], wants_part?: boolean }} Source `wants_part`: whatever of it there is
 */

/**
 * @typedef {object} Parts
 * @property {string} name
 * @property {string | null} config null only for a partial model
 * @property {import("./hub.js").Tokenizer | null} tokenizer likewise
 * @property {boolean} [is_part] a partial model, for the atlas; it is never kept
 * @property {any} weights as `load` takes them
 * @property {number | undefined} total bytes of the weights
 * @property {Precision} precision
 * @property {"Downloading" | "Opening" | "Loading"} verb
 * @property {{ key: string, source: import("./store.js").HubOrigin | import("./store.js").FilesOrigin } | null} place where it can be kept
 * @property {{ id: string, revision: string } | null} address on the hub
 * @property {string} [kept] under which key it is kept whole already
 */

/** @typedef {{ bundled_url: string, hub: import("./request.js").Hub }} Places */

/** @param {File} file */
const opener = (file) => ({ open: (/** @type {number} */ from) => file.slice(from).stream(), bytes: file.size || null });

/** @param {Places} places @param {Precision} precision @param {Watch} watch @returns {Promise<Parts>} */
async function fromBundle({ bundled_url }, precision, watch) {
  const { config, tokenizer, weights, weights_bytes } = await fetchModel(bundled_url, watch.signal);
  return { name: BUNDLED.name, config, tokenizer, weights, total: weights_bytes, precision, verb: "Loading", place: null, address: null };
}

/** @param {Places} places @param {{ id: string, revision: string, commit?: string | null }} model @param {Precision} precision @param {Watch} watch @returns {Promise<Parts>} */
async function fromHub({ hub }, { id, revision, commit }, precision, watch) {
  const found = await lookUp(hub, { id, revision: commit ?? revision }, watch);
  const tokenizer = await fetchTokenizer(hub, found.tokenizer, watch);
  const { weights } = found;
  const address = { id, revision };
  return {
    name: modelName(address),
    config: found.config,
    tokenizer,
    weights: weights.map((file) => ({ open: (/** @type {number} */ from) => openFile(hub, file, watch, from), sha256: file.sha256, bytes: file.bytes || null })),
    total: found.bytes ?? undefined,
    precision,
    verb: "Downloading",
    place: {
      key: hubKey(address, precision),
      source: { kind: "hub", ...address, commit: found.commit, etags: weights.map(({ etag }) => etag) },
    },
    address,
  };
}

/** @param {Extract<Source, { kind: "files" }>} source @param {Precision} precision @returns {Promise<Parts>} */
async function fromFiles({ name, files, wants_part }, precision) {
  const { config, tokenizer, weights, is_part } = await sortFiles(files, wants_part);
  const names = weights.map((file) => file.name);
  return {
    name: is_part && names.length === 1 ? names[0] : name,
    config,
    tokenizer,
    weights: weights.map(opener),
    total: weights.reduce((sum, { size }) => sum + size, 0),
    precision,
    verb: "Loading",
    place: is_part || config === null ? null : { key: `${await filesKey(config, weights)}.${precision}`, source: { kind: "files", names } },
    address: null,
    is_part,
  };
}

/** @param {Places} places @param {string} key @param {Watch} watch @returns {Promise<Parts>} */
async function fromStore(places, key, watch) {
  const { about, config, tokenizer, weights } = await openKept(key);
  const { source, precision, name } = about;
  if (about.state === "whole") {
    const address = source.kind === "hub" ? { id: source.id, revision: source.revision } : null;
    return { name, config, tokenizer, weights: opener(weights), total: weights.size, precision, verb: "Opening", place: null, address, kept: key };
  }
  if (source.kind === "hub") return fromHub(places, source, precision, watch);
  throw new LoupeError("not-found", "This model came from files and is unfinished: choose its files again.");
}

/**
 * Errors: as of the hub, the store and the files.
 * @param {Source} source @param {Places} places @param {Precision} precision of what is not kept yet @param {Watch} watch
 */
export async function gather(source, places, precision, watch) {
  switch (source.kind) {
    case "bundled": return fromBundle(places, precision, watch);
    case "hub": return (await fromWhole(places, hubKey(source, precision), watch)) ?? fromHub(places, source, precision, watch);
    case "files": {
      const parts = await fromFiles(source, precision);
      return (parts.place && (await fromWhole(places, parts.place.key, watch))) ?? parts;
    }
    case "kept": return fromStore(places, source.key, watch);
  }
}

/** What is kept whole already is opened: to download it once more would first take it away. @param {Places} places @param {string} key @param {Watch} watch */
const fromWhole = async (places, key, watch) =>
  (await findKept(key))?.about.state === "whole" ? fromStore(places, key, watch) : null;
