/**
 * Kept models: one folder each in the origin-private file system, with config.json, tokenizer.json,
 * model.safetensors as the engine wrote it, and about.json, which says "whole" only once all of it is on the disk.
 * So a crash or a closed tab leaves at most an unfinished model, and never a broken one.
 */
import { LoupeError } from "../engine/errors.ts";
import type { Tokenizer } from "./hub.ts";
import type { Address } from "../lib/model.ts";
import type { About, Kept } from "../engine/protocol.ts";

/** Handles that block, as only workers have. */
export type SyncHandle = {
  read(into: Uint8Array, options: { at: number }): number;
  write(bytes: Uint8Array, options: { at: number }): number;
  getSize(): number;
  truncate(size: number): void;
  flush(): void;
  close(): void;
};

/** What workers have besides, in the types of a page. */
type InWorker = FileSystemFileHandle & { createSyncAccessHandle: () => Promise<SyncHandle> };
type Iterated = FileSystemDirectoryHandle & { entries: () => AsyncIterable<[string, FileSystemHandle]> };

const [CONFIG, TOKENIZER, WEIGHTS, ABOUT] = ["config.json", "tokenizer.json", "model.safetensors", "about.json"];
const ABOUT_COPY = "about.copy.json";
/** What older models have instead of a tokenizer.json. */
const [VOCAB, MERGES] = ["vocab.json", "merges.txt"];

/** Folder names must hold no slash. */
export const hubKey = ({ id, revision }: Address, precision: string) =>
  `${encodeURIComponent(id)}@${encodeURIComponent(revision)}.${precision}`;

async function modelsFolder() {
  const root = await navigator.storage.getDirectory();
  return (await root.getDirectoryHandle("loupe", { create: true })).getDirectoryHandle("models", { create: true });
}

const lock = async (folder: FileSystemDirectoryHandle, name: string): Promise<SyncHandle> =>
  ((await folder.getFileHandle(name, { create: true })) as InWorker).createSyncAccessHandle();

/** Writes by a blocking handle, which every engine has in workers. */
async function writeText(folder: FileSystemDirectoryHandle, name: string, text: string) {
  const handle = await lock(folder, name);
  try {
    const bytes = new TextEncoder().encode(text);
    handle.truncate(0);
    if (handle.write(bytes, { at: 0 }) !== bytes.length)
      throw new DOMException(`${name} was not written whole`, "QuotaExceededError");
    handle.flush();
  } finally {
    handle.close();
  }
}

const fileIn = async (folder: FileSystemDirectoryHandle, name: string) => (await folder.getFileHandle(name)).getFile();

async function readTokenizer(folder: FileSystemDirectoryHandle): Promise<Tokenizer> {
  const text = async (name: string) => (await fileIn(folder, name)).text();
  try {
    return await text(TOKENIZER);
  } catch {
    return { vocab: await text(VOCAB), merges: await text(MERGES) };
  }
}

async function writeTokenizer(folder: FileSystemDirectoryHandle, tokenizer: Tokenizer) {
  if (typeof tokenizer === "string") return writeText(folder, TOKENIZER, tokenizer);
  // One that was there before would be taken for this model's.
  await folder.removeEntry(TOKENIZER).catch(() => {});
  await writeText(folder, VOCAB, tokenizer.vocab);
  await writeText(folder, MERGES, tokenizer.merges);
}

/** The description of a model, or its copy where that was torn while it was written. */
async function readAbout(folder: FileSystemDirectoryHandle): Promise<About | null> {
  for (const name of [ABOUT, ABOUT_COPY]) {
    try {
      const about = JSON.parse(await (await fileIn(folder, name)).text()) as About;
      if (about.version === 1 && ["partial", "whole"].includes(about.state) && about.source) return about;
    } catch {
      // The other one, then.
    }
  }
  return null;
}

/** One after the other, so that one of both is whole whenever the tab is closed. */
async function writeAbout(folder: FileSystemDirectoryHandle, about: About) {
  for (const name of [ABOUT_COPY, ABOUT]) await writeText(folder, name, JSON.stringify(about));
}

/** Whether a file of that name is there, whatever is in it. */
const holds = (folder: FileSystemDirectoryHandle, name: string) =>
  folder.getFileHandle(name).then(
    () => true,
    (error) => (error as DOMException).name !== "NotFoundError",
  );

/** Every model here, unfinished ones too; none where the browser offers no storage. */
export async function listKept(): Promise<Kept[]> {
  const models = await modelsFolder().catch(() => null);
  if (!models) return [];
  const kept: Kept[] = [];
  for await (const [key, handle] of (models as Iterated).entries()) {
    const folder = handle as FileSystemDirectoryHandle;
    const about = await readAbout(folder);
    const file = await fileIn(folder, WEIGHTS).catch(() => null);
    const config = await fileIn(folder, CONFIG).then(
      (found) => found.text(),
      () => null,
    );
    if (about && file) kept.push({ key, about, config, bytes: file.size });
    // A place that was begun and never described. Another tab may be at it: then it is locked and stays. What is
    // described in words that cannot be read now, or that a later version wrote, is not ours to take away.
    else if (!(await holds(folder, ABOUT))) await models.removeEntry(key, { recursive: true }).catch(() => {});
  }
  return kept.sort((a, b) => a.about.name.localeCompare(b.about.name, "en", { numeric: true }));
}

export const findKept = async (key: string): Promise<Kept | null> =>
  (await listKept()).find((kept) => kept.key === key) ?? null;

export async function removeKept(key: string) {
  const models = await modelsFolder();
  try {
    await models.removeEntry(key, { recursive: true });
  } catch (error) {
    const { name } = error as DOMException;
    if (name === "NotFoundError") return;
    if (name === "NoModificationAllowedError")
      throw new LoupeError("busy", "This model is being stored, perhaps in another tab. Cancel that first.");
    throw error;
  }
}

/** What `load` takes of a kept model. Errors: `not-found`. */
export async function openKept(key: string) {
  try {
    const folder = await (await modelsFolder()).getDirectoryHandle(key);
    const about = (await readAbout(folder)) as About;
    const [config, weights] = await Promise.all([CONFIG, WEIGHTS].map((name) => fileIn(folder, name)));
    return { about, config: await config.text(), tokenizer: await readTokenizer(folder), weights };
  } catch {
    throw new LoupeError("not-found", "This model is no longer kept in this browser.");
  }
}

/** Whether what an earlier load left is the beginning of the same model. */
function goesOn(before: About | null, now: About) {
  if (before?.state !== "partial" || before.source.kind !== now.source.kind) return false;
  if (before.source.kind !== "hub" || now.source.kind !== "hub") return true;
  if (now.source.commit) return before.source.commit === now.source.commit;
  const { etags } = before.source;
  return (
    !before.source.commit &&
    etags.length === now.source.etags.length &&
    now.source.etags.every((etag, i) => etag !== null && etag === etags[i])
  );
}

/**
 * Makes a place for a model that is about to stream in, or takes up the one that was left; whoever has it locks it.
 * Errors: DOMExceptions of the file system.
 */
export async function openWriter(key: string, about: About, texts: { config: string; tokenizer: Tokenizer }) {
  const models = await modelsFolder();
  const folder = await models.getDirectoryHandle(key, { create: true });
  const file = await lock(folder, WEIGHTS);
  let is_open = true;
  const close = () => {
    if (is_open) file.close();
    is_open = false;
  };
  const drop = async () => {
    close();
    await models.removeEntry(key, { recursive: true }).catch(() => {});
  };
  let goes_on;
  try {
    goes_on = goesOn(await readAbout(folder), about);
    await writeAbout(folder, about);
    if (!goes_on) file.truncate(0);
    await writeText(folder, CONFIG, texts.config);
    await writeTokenizer(folder, texts.tokenizer);
  } catch (error) {
    await drop();
    throw error;
  }
  return {
    file,
    /** Whether it holds what an earlier load left. */
    goes_on,
    drop,
    /** Declares it whole. */
    async finish({ bytes, sha256 }: { bytes: number; sha256: string }) {
      file.flush();
      const size = file.getSize();
      if (size !== bytes) throw new DOMException(`${size} of ${bytes} bytes are on the disk`, "DataError");
      const changed_at = new Date().toISOString();
      // The weights stay locked until their description is there, so that no other tab meets them without it.
      await writeAbout(folder, { ...about, state: "whole", bytes, sha256, changed_at });
      close();
    },
    /** Leaves the beginning for another time, if there is one. */
    async leave() {
      const is_empty = file.getSize() === 0;
      close();
      if (is_empty) await drop();
    },
  };
}
