/** Files and folders from this computer: chosen in a picker, or dropped anywhere on the page. */
import { byId } from "../ui/dom.ts";
import { formatOf } from "../sources/weights.ts";

/** Folders may hold anything; a model lies flat or one folder down. */
const MAX_DEPTH = 2;

async function filesIn(entry: FileSystemEntry, depth: number): Promise<File[]> {
  if (entry.isFile) {
    return [await new Promise((done, failed) => (entry as FileSystemFileEntry).file(done, failed))];
  }
  if (depth === 0) return [];
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const entries: FileSystemEntry[] = [];
  for (;;) {
    // A reader hands over a folder in portions; an empty one is the last.
    const more = await new Promise<FileSystemEntry[]>((done, failed) => reader.readEntries(done, failed));
    if (more.length === 0) break;
    entries.push(...more);
  }
  return (await Promise.all(entries.map((each) => filesIn(each, depth - 1)))).flat();
}

/** A file of weights that comes without a config has only its own name. */
function loneName(files: File[]) {
  const weights = files.filter(({ name }) => formatOf(name) !== null);
  return weights.length === 1 && files.every(({ name }) => name !== "config.json") ? weights[0].name : "";
}

const nameOf = (files: File[], folder?: string) =>
  folder || files[0]?.webkitRelativePath.split("/")[0] || loneName(files) || "Files of this computer";

export function createFileDrop(onFiles: (name: string, files: File[]) => void) {
  for (const id of ["files", "folder"]) {
    const input = byId<HTMLInputElement>(id);
    byId(`pick-${id}`).addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      const files = [...(input.files ?? [])];
      input.value = "";
      if (files.length > 0) onFiles(nameOf(files), files);
    });
  }

  const isFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
  const mark = (is_over: boolean) => document.documentElement.toggleAttribute("data-drop", is_over);
  addEventListener("dragover", (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    mark(true);
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && mark(false));
  addEventListener("drop", async (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    mark(false);
    // Entries are there only until this function waits.
    const items = [...(event.dataTransfer?.items ?? [])].filter((item) => item.kind === "file");
    const entries = items.map((item) => item.webkitGetAsEntry());
    const plain = items.map((item) => item.getAsFile());
    const files = await Promise.all(
      entries.map(async (entry, i) => (entry ? filesIn(entry, MAX_DEPTH) : plain[i] ? [plain[i]] : [])),
    );
    const folder = entries.length === 1 && entries[0]?.isDirectory ? entries[0].name : undefined;
    onFiles(nameOf(files.flat(), folder), files.flat());
  });
}
