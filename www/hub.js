// @ts-check
/**
 * What the hub has of a model. Its listing gives the commit that all files are then taken from, so that they
 * belong together, their sizes and their digests; a plain mirror without listings does, for less certainty.
 */
import { checkedAddress } from "./address.js";
import { LoupeError, codeOf } from "./outcome.js";
import { fetchText, peek } from "./transfer.js";

/** @typedef {import("./request.js").Hub} Hub */
/** @typedef {import("./request.js").HubFile} HubFile */
/** @typedef {import("./patience.js").Watch} Watch */
/** The text of tokenizer.json, or of the two files that older models have. @typedef {string | { vocab: string, merges: string }} Tokenizer */
/** @typedef {{ sha: string, sizes: Map<string, { bytes: number | null, sha256: string | null }> }} Listing */

/**
 * @typedef {object} Found
 * @property {string} id
 * @property {string} revision as asked for
 * @property {string | null} commit null where the hub gives no listing
 * @property {string} config text of config.json
 * @property {{ whole: HubFile, vocab: HubFile, merges: HubFile }} tokenizer where there is no tokenizer.json, the two older files
 * @property {HubFile[]} weights
 * @property {number | null} bytes of the weights, null while unknown
 */

const WHOLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
const PICKLED = /^pytorch_model.*\.bin$/;
const SHARD = /^[\w.-]+\.safetensors$/;

/** @param {unknown} value */
const countOrNull = (value) => (Number.isSafeInteger(value) && Number(value) >= 0 ? Number(value) : null);

/** @param {string} text @returns {Listing | null} */
function parseListing(text) {
  try {
    const { sha, siblings } = JSON.parse(text);
    if (!/^[0-9a-f]{40,64}$/.test(sha)) return null;
    const sizes = new Map();
    for (const { rfilename, size, lfs } of siblings) {
      const sha256 = /^[0-9a-f]{64}$/.test(lfs?.sha256) ? lfs.sha256 : null;
      sizes.set(String(rfilename), { bytes: countOrNull(lfs?.size ?? size), sha256 });
    }
    return { sha, sizes };
  } catch {
    return null;
  }
}

/** The distinct files that an index of shards names, in the order of their names. @param {string} text @param {string} what */
export function shardsOf(text, what) {
  /** @type {string[]} */
  let names = [];
  try {
    names = [...new Set(Object.values(JSON.parse(text).weight_map).map(String))].sort();
  } catch { /* said below */ }
  if (names.length === 0 || !names.every((name) => SHARD.test(name))) {
    throw new LoupeError("bad-header", `${what} is not an index of safetensors files.`);
  }
  return names;
}

/**
 * Errors: `bad-option`, `denied`, `not-found`, `unsupported-model`, `network`, `aborted`.
 * @param {Hub} hub @param {import("./address.js").Address} address @param {Watch} watch
 * @returns {Promise<Found>}
 */
export async function lookUp(hub, address, watch) {
  const { id, revision } = checkedAddress(address.id, address.revision);
  const named = `${id} at revision ${revision}`;
  const api = `${hub.base}/api/models/${id}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const listing = await fetchText(hub, { url: api, name: "", what: named, bytes: null, sha256: null, etag: null }, watch)
    .then(parseListing, (error) => {
      if (codeOf(error) === "not-found") return null;
      throw error;
    });
  const commit = listing?.sha ?? null;

  /** @param {string} name @returns {HubFile} */
  const file = (name) => ({
    url: `${hub.base}/${id}/resolve/${encodeURIComponent(commit ?? revision)}/${name}`,
    name,
    what: `${name} of ${named}`,
    bytes: null,
    sha256: null,
    etag: null,
    ...listing?.sizes.get(name),
  });
  /** Its length, as far as it is known; null if it is not there. @param {HubFile} wanted */
  const look = async (wanted) =>
    listing ? (listing.sizes.has(wanted.name) ? { bytes: wanted.bytes } : null) : peek(hub, wanted, watch);
  /** @param {string} name */
  const required = (name) => {
    const wanted = file(name);
    if (listing && !listing.sizes.has(name)) throw new LoupeError("not-found", `The hub has no ${wanted.what}.`);
    return wanted;
  };

  /** The files of the weights, and what they are long. */
  const findWeights = async () => {
    const [whole, index] = [file(WHOLE), file(INDEX)];
    const size = await look(whole);
    if (size) return { weights: [whole], sizes: [size] };
    if (await look(index)) {
      const weights = shardsOf(await fetchText(hub, index, watch), index.what).map(required);
      return { weights, sizes: await Promise.all(weights.map(look)) };
    }
    if ([...(listing?.sizes.keys() ?? [])].some((name) => PICKLED.test(name))) {
      throw new LoupeError("unsupported-model",
        `${named} has its weights only as pytorch_model.bin, which Loupe does not read. Convert it in Python: ` +
        `AutoModelForCausalLM.from_pretrained("${id}").save_pretrained("folder", safe_serialization=True); then open the folder from this computer.`);
    }
    throw new LoupeError("not-found", `The hub has no ${whole.what}, and no index of shards.`);
  };

  const config = await fetchText(hub, required("config.json"), watch);
  const older = { vocab: file("vocab.json"), merges: file("merges.txt") };
  const has_older = listing?.sizes.has(older.vocab.name) && listing.sizes.has(older.merges.name);
  const tokenizer = { whole: has_older ? file("tokenizer.json") : required("tokenizer.json"), ...older };
  const { weights, sizes } = await findWeights();
  const bytes = sizes.reduce((sum, size) => (sum === null || !size?.bytes ? null : sum + size.bytes), /** @type {number | null} */ (0));
  return { id, revision, commit, config, tokenizer, weights, bytes };
}

/**
 * The tokenizer as `load` takes it. Errors: as of `fetchText`; where no file is there, `not-found` for tokenizer.json.
 * @param {Hub} hub @param {Found["tokenizer"]} tokenizer @param {Watch} watch
 * @returns {Promise<Tokenizer>}
 */
export async function fetchTokenizer(hub, { whole, vocab, merges }, watch) {
  try {
    return await fetchText(hub, whole, watch);
  } catch (error) {
    if (codeOf(error) !== "not-found") throw error;
    const older = await Promise.all([vocab, merges].map((file) => fetchText(hub, file, watch))).catch(() => null);
    if (!older) throw error;
    return { vocab: older[0], merges: older[1] };
  }
}
