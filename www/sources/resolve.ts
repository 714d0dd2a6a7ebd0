/** From what a person chose to what the engine's `load` takes: the texts, the weights, and where they may be kept. */
import { BUNDLED, modelName } from "./catalogue.ts";
import { fetchModel } from "./bundled.ts";
import { filesKey, sortFiles } from "./local-files.ts";
import { fetchTokenizer, lookUp } from "./hub.ts";
import { LoupeError } from "../engine/errors.ts";
import { findKept, hubKey, openKept } from "./model-store.ts";
import { openFile } from "./resumable-stream.ts";
import type { LoadOptions } from "../../src/web/types.d.ts";
import type { Watch } from "./retry.ts";
import type { Tokenizer } from "./hub.ts";
import type { FilesOrigin, HubOrigin, Settings } from "../engine/protocol.ts";
import type { Precision, Source } from "../lib/model.ts";

export interface ModelFiles {
  name: string;
  /** null only for a partial model */
  config: string | null;
  /** likewise */
  tokenizer: Tokenizer | null;
  /** a partial model, for the atlas; it is never kept */
  is_part?: boolean;
  /** as `load` takes them */
  weights: LoadOptions["weights"];
  /** bytes of the weights */
  total: number | undefined;
  precision: Precision;
  verb: "Downloading" | "Opening" | "Loading";
  /** where it can be kept */
  place: { key: string; source: HubOrigin | FilesOrigin } | null;
  /** on the hub */
  address: { id: string; revision: string } | null;
  /** under which key it is kept whole already */
  kept?: string;
}

export type Places = Pick<Settings, "bundled_url" | "hub">;

const opener = (file: File) => ({ open: (from: number) => file.slice(from).stream(), bytes: file.size || null });

async function fromBundle({ bundled_url }: Places, precision: Precision, watch: Watch): Promise<ModelFiles> {
  const { config, tokenizer, weights, weights_bytes } = await fetchModel(bundled_url, watch.signal);
  return {
    name: BUNDLED.name,
    config,
    tokenizer,
    weights,
    total: weights_bytes,
    precision,
    verb: "Loading",
    place: null,
    address: null,
  };
}

async function fromHub(
  { hub }: Places,
  { id, revision, commit }: { id: string; revision: string; commit?: string | null },
  precision: Precision,
  watch: Watch,
): Promise<ModelFiles> {
  const found = await lookUp(hub, { id, revision: commit ?? revision }, watch);
  const tokenizer = await fetchTokenizer(hub, found.tokenizer, watch);
  const { weights } = found;
  const address = { id, revision };
  return {
    name: modelName(address),
    config: found.config,
    tokenizer,
    weights: weights.map((file) => ({
      open: (from: number) => openFile(hub, file, watch, from),
      sha256: file.sha256,
      bytes: file.bytes || null,
    })),
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

async function fromFiles(
  { name, files, wants_part }: Extract<Source, { kind: "files" }>,
  precision: Precision,
): Promise<ModelFiles> {
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
    place:
      is_part || config === null
        ? null
        : { key: `${await filesKey(config, weights)}.${precision}`, source: { kind: "files", names } },
    address: null,
    is_part,
  };
}

async function fromStore(places: Places, key: string, watch: Watch): Promise<ModelFiles> {
  const { about, config, tokenizer, weights } = await openKept(key);
  const { source, precision, name } = about;
  if (about.state === "whole") {
    const address = source.kind === "hub" ? { id: source.id, revision: source.revision } : null;
    return {
      name,
      config,
      tokenizer,
      weights: opener(weights),
      total: weights.size,
      precision,
      verb: "Opening",
      place: null,
      address,
      kept: key,
    };
  }
  if (source.kind === "hub") return fromHub(places, source, precision, watch);
  throw new LoupeError("not-found", "This model came from files and is unfinished: choose its files again.");
}

/**
 * Errors: as of the hub, the store and the files.
 * @param precision of what is not kept yet
 */
export async function resolveSource(source: Source, places: Places, precision: Precision, watch: Watch) {
  switch (source.kind) {
    case "bundled":
      return fromBundle(places, precision, watch);
    case "hub":
      return (await fromWhole(places, hubKey(source, precision), watch)) ?? fromHub(places, source, precision, watch);
    case "files": {
      const parts = await fromFiles(source, precision);
      return (parts.place && (await fromWhole(places, parts.place.key, watch))) ?? parts;
    }
    case "kept":
      return fromStore(places, source.key, watch);
  }
}

/** What is kept whole already is opened: to download it once more would first take it away. */
const fromWhole = async (places: Places, key: string, watch: Watch) =>
  (await findKept(key))?.about.state === "whole" ? fromStore(places, key, watch) : null;
