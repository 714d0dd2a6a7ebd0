/** Texts that a person types or drops: for fits and for a corpus alike. */
import { counted, bytes as bytesText } from "../lib/format.ts";
import { button, element } from "../ui/dom.ts";
import type { Given } from "./types.ts";

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
  Object.assign(input, { type: "file", multiple: true, accept: ".txt,.md,.jsonl,.csv,text/*", hidden: true });
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
  box.addEventListener("dragover", (event) => event.preventDefault());
  box.addEventListener("drop", (event) => {
    event.preventDefault();
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
    key: () => JSON.stringify([area.value, ...files.map(({ name, size, lastModified }) => [name, size, lastModified])]),
  };
}
