/**
 * What the hub has of a model. Its listing gives the commit that all files are then taken from, so that they
 * belong together, their sizes and their digests; a plain mirror without listings does, for less certainty.
 */
import { checkedAddress } from "./hub-address.ts";
import { LoupeError, codeOf } from "../engine/errors.ts";
import { fetchText, peek } from "./resumable-stream.ts";
import { FORMATS, shardsOf } from "./weights.ts";
import type { HubFile } from "./hub-request.ts";
import type { Watch } from "./retry.ts";
import type { Address } from "../lib/model.ts";
import type { Hub } from "../engine/protocol.ts";

/** The text of tokenizer.json, or of the two files that older models have. */
export type Tokenizer = string | { vocab: string; merges: string };
export type Listing = { sha: string; sizes: Map<string, { bytes: number | null; sha256: string | null }> };

export interface Found {
  id: string;
  /** as asked for */
  revision: string;
  /** null where the hub gives no listing */
  commit: string | null;
  /** text of config.json */
  config: string;
  /** where there is no tokenizer.json, the two older files */
  tokenizer: { whole: HubFile; vocab: HubFile; merges: HubFile };
  weights: HubFile[];
  /** of the weights */
  format: string;
  /** of the weights, null while unknown */
  bytes: number | null;
}

const countOrNull = (value: unknown) => (Number.isSafeInteger(value) && Number(value) >= 0 ? Number(value) : null);

function parseListing(text: string): Listing | null {
  try {
    const { sha, siblings } = JSON.parse(text) as {
      sha: unknown;
      siblings: { rfilename: unknown; size?: unknown; lfs?: { size?: unknown; sha256?: unknown } | null }[];
    };
    if (typeof sha !== "string" || !/^[0-9a-f]{40,64}$/.test(sha)) return null;
    const sizes: Listing["sizes"] = new Map();
    for (const { rfilename, size, lfs } of siblings) {
      const digest = String(lfs?.sha256);
      const sha256 = /^[0-9a-f]{64}$/.test(digest) ? digest : null;
      sizes.set(String(rfilename), { bytes: countOrNull(lfs?.size ?? size), sha256 });
    }
    return { sha, sizes };
  } catch {
    return null;
  }
}

/** Errors: `bad-option`, `denied`, `not-found`, `bad-header`, `network`, `aborted`. */
export async function lookUp(hub: Hub, address: Address, watch: Watch): Promise<Found> {
  const { id, revision } = checkedAddress(address.id, address.revision);
  const named = `${id} at revision ${revision}`;
  const api = `${hub.base}/api/models/${id}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const listing = await fetchText(
    hub,
    { url: api, name: "", what: named, bytes: null, sha256: null, etag: null },
    watch,
  ).then(parseListing, (error) => {
    if (codeOf(error) === "not-found") return null;
    throw error;
  });
  const commit = listing?.sha ?? null;

  const file = (name: string): HubFile => ({
    url: `${hub.base}/${id}/resolve/${encodeURIComponent(commit ?? revision)}/${name}`,
    name,
    what: `${name} of ${named}`,
    bytes: null,
    sha256: null,
    etag: null,
    ...listing?.sizes.get(name),
  });
  /** Its length, as far as it is known; null if it is not there. */
  const look = async (wanted: HubFile) =>
    listing ? (listing.sizes.has(wanted.name) ? { bytes: wanted.bytes } : null) : peek(hub, wanted, watch);
  const required = (name: string) => {
    const wanted = file(name);
    if (listing && !listing.sizes.has(name)) throw new LoupeError("not-found", `The hub has no ${wanted.what}.`);
    return wanted;
  };

  /** The files of the weights in the first format that is there, and their lengths. */
  const findWeights = async () => {
    for (const format of FORMATS) {
      const [whole, index] = [file(format.whole), file(format.index)];
      const size = await look(whole);
      if (size) return { weights: [whole], sizes: [size], format };
      if (await look(index)) {
        const weights = shardsOf(await fetchText(hub, index, watch), index.what, format).map(required);
        return { weights, sizes: await Promise.all(weights.map(look)), format };
      }
    }
    const names = FORMATS.map(({ whole }) => whole).join(" and no ");
    throw new LoupeError("not-found", `The hub has no ${names} of ${named}, and no index of shards.`);
  };

  const config = await fetchText(hub, required("config.json"), watch);
  const older = { vocab: file("vocab.json"), merges: file("merges.txt") };
  const has_older = listing?.sizes.has(older.vocab.name) && listing.sizes.has(older.merges.name);
  const tokenizer = { whole: has_older ? file("tokenizer.json") : required("tokenizer.json"), ...older };
  const { weights, sizes, format } = await findWeights();
  const bytes = sizes.reduce(
    (sum, size) => (sum === null || !size?.bytes ? null : sum + size.bytes),
    0 as number | null,
  );
  return { id, revision, commit, config, tokenizer, weights, format: format.name, bytes };
}

/**
 * The tokenizer as `load` takes it. Errors: as of `fetchText`; where no file is there, `not-found` for tokenizer.json.
 */
export async function fetchTokenizer(
  hub: Hub,
  { whole, vocab, merges }: Found["tokenizer"],
  watch: Watch,
): Promise<Tokenizer> {
  try {
    return await fetchText(hub, whole, watch);
  } catch (error) {
    if (codeOf(error) !== "not-found") throw error;
    const older = await Promise.all([vocab, merges].map((file) => fetchText(hub, file, watch))).catch(() => null);
    if (!older) throw error;
    return { vocab: older[0], merges: older[1] };
  }
}
