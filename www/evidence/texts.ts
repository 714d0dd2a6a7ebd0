/** Texts that a person types or drops: for fits and for a corpus alike. */
import { counted, bytes as bytesText } from "../lib/format.ts";
import { button, element } from "../ui/dom.ts";
import type { Given } from "./types.ts";

/** FNV-1a over UTF-16, and the length. */
function hashOf(text: string) {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return `${text.length}:${(hash >>> 0).toString(16)}`;
}

export function createTexts(label: string, changed: () => void = () => {}) {
  let files: File[] = [];
  const area = element("textarea", "text evidence-texts");
  Object.assign(area, {
    rows: 3,
    spellcheck: false,
    placeholder: "Paste texts here; blank lines separate documents. Or add text files.",
  });
  area.setAttribute("aria-label", label);
  const input = element("input", "");
  Object.assign(input, { type: "file", multiple: true, accept: ".txt,.md,text/plain,text/markdown", hidden: true });
  const list = element("p", "muted");
  const box = element(
    "div",
    "evidence-given",
    area,
    element(
      "div",
      "field-row",
      button("chip small", "Add text files…", () => input.click()),
      button("chip small", "Clear", () => {
        [files, area.value] = [[], ""];
        show();
      }),
      list,
    ),
    input,
  );

  function show() {
    list.textContent =
      files.length === 0
        ? ""
        : `${counted(files.length, "file")}: ${files.map(({ name, size }) => `${name} (${bytesText(size)})`).join(", ")}`;
    changed();
  }
  const add = (more: Iterable<File>) => {
    files = [...files, ...more];
    show();
  };
  area.addEventListener("input", changed);
  input.addEventListener("change", () => {
    add(input.files ?? []);
    input.value = "";
  });
  const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") === true;
  box.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  box.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    // Else the window would open them as a model.
    event.preventDefault();
    event.stopPropagation();
    delete document.documentElement.dataset.drop;
    add(event.dataTransfer?.files ?? []);
  });
  return {
    element: box,
    get: (): Given => ({ texts: area.value.trim() === "" ? [] : [area.value], files }),
    isEmpty: () => area.value.trim() === "" && files.length === 0,
    set(text: string) {
      area.value = text;
      show();
    },
    bytes: () => files.reduce((sum, { size }) => sum + size, new Blob([area.value]).size),
    /** What tells these texts from others, so that a run that was broken off is taken up only with the same ones. */
    key: () =>
      JSON.stringify([hashOf(area.value), ...files.map(({ name, size, lastModified }) => [name, size, lastModified])]),
  };
}
