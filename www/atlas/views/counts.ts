/** How often each token stands in a text of the visitor's own, or counts from a file: dropped, chosen or pasted. It stays on this page. */
import { button, element } from "../../ui/dom.ts";
import { bytes, integer, percent, significant } from "../../lib/format.ts";
import { countTokens, holdsCounts, readCounts } from "../token-counts.ts";
import { choiceOf } from "../../ui/fields.ts";
import { codeOf } from "../../engine/errors.ts";
import { descending } from "../stats/orders.ts";
import { markPicked, tokenButton } from "../token-table.ts";
import type { Stage } from "../types.ts";
import type { Counted } from "../token-counts.ts";

const MAX_BYTES = 64 << 20;
const N_MOST = 12;

/** What opens as a model. */
const IS_MODEL = /\.(json|safetensors)$/i;

/** @param onCounts after counts came or went */
export function createCounts({ ask, selection, holds, card: make }: Stage, onCounts: () => void) {
  const card = make({
    name: "counts",
    title: "Counts from a text",
    words:
      "How often each token stands in a text of your own, or counts that you have: a fifth candidate. They stay on this page.",
    is_picture: false,
    csv,
  });
  const as = choiceOf(
    "Read as",
    [
      ["", "a text or counts, by its look"],
      ["text", "a text"],
      ["counts", "counts"],
    ],
    () => {},
  );
  card.tools.append(as.element);
  const input = element("input", "");
  Object.assign(input, { type: "file", accept: ".txt,.md,.csv,.tsv,.json,.jsonl,text/*", hidden: true });
  input.addEventListener("change", () => {
    const [file] = input.files ?? [];
    input.value = "";
    if (file) void count(file, file.name);
  });
  const pasted = element("textarea", "paste");
  Object.assign(pasted, { rows: 2, placeholder: "or paste a text here", spellcheck: false });
  pasted.setAttribute("aria-label", "A text to count the tokens of");
  const zone = element(
    "div",
    "drop-zone",
    element(
      "p",
      "",
      "Drop a text file anywhere in this view, or ",
      button("chip small", "choose one", () => input.click()),
    ),
    element(
      "p",
      "muted",
      "Counts: two columns (token id, or token text and a tab; count), one number a line for the whole vocabulary, or JSON (an array, or an object by token).",
    ),
    pasted,
    button(
      "chip",
      "Count the pasted text",
      () => pasted.value && void count(new Blob([pasted.value]), "the pasted text"),
    ),
    input,
  );
  const result = element("div", "counts-result");
  card.body.append(zone, result);
  let counted: Counted | null = null;
  let shown: string[] = [];

  /** Whether JSON is taken for counts: else it is part of a model. */
  const isJson = () => as.select.value === "counts";
  const isModel = (name: string) => IS_MODEL.test(name) && !(isJson() && /\.json$/i.test(name));

  /**
   * Counts what is dropped on an element. A text is no model: the page's own drop, which opens models, must not see
   * it.
   */
  function accept(target: HTMLElement) {
    const mark = (is_over: boolean) => card.body.classList.toggle("is-over", is_over);
    target.addEventListener("dragover", (event) => {
      const items = [...(event.dataTransfer?.items ?? [])];
      // Names are told only at the drop: until then by type, which weights have none of.
      const is_text =
        items.length > 0 &&
        items.every(({ kind, type }) => kind === "file" && type !== "" && (type !== "application/json" || isJson()));
      mark(is_text);
      if (!is_text) return;
      event.preventDefault();
      event.stopPropagation();
      document.documentElement.toggleAttribute("data-drop", false);
    });
    target.addEventListener("dragleave", ({ relatedTarget }) =>
      mark(relatedTarget !== null && target.contains(relatedTarget as Node) && card.body.classList.contains("is-over")),
    );
    target.addEventListener("drop", (event) => {
      mark(false);
      const files = [...(event.dataTransfer?.files ?? [])];
      const is_folder = [...(event.dataTransfer?.items ?? [])].some((item) => item.webkitGetAsEntry()?.isDirectory);
      if (files.length === 0 || is_folder || files.some(({ name }) => isModel(name))) return;
      event.preventDefault();
      event.stopPropagation();
      document.documentElement.toggleAttribute("data-drop", false);
      void count(files[0], files[0].name);
    });
  }

  async function count(text: Blob, name: string) {
    if (text.size > MAX_BYTES)
      return card.say(`${name} has ${bytes(text.size)}: at most ${bytes(MAX_BYTES)} are counted here.`);
    const { facts } = ask;
    const problem = await card.run(
      async ({ signal, onProgress }) => {
        const words = await ask.vocabulary();
        ({ shown } = words);
        const wanted = as.select.value;
        const has_counts = wanted === "counts" || (wanted === "" && (await holdsCounts(text, words)));
        try {
          const found = has_counts
            ? await readCounts(text, name, words)
            : await countTokens(text, name, {
                n_vocabulary: shown.length,
                encode: ask.ids,
                signal,
                onProgress: (done) => onProgress({ done }),
              });
          if (facts !== ask.facts || signal.aborted) return "";
          counted = found;
          draw();
          onCounts();
          return "";
        } catch (error) {
          if (codeOf(error) !== "bad-counts") throw error;
          return `${name}: ${(error as Error).message}${wanted === "" ? " It looks like counts; to count the tokens in it, choose to read it as a text." : ""}`;
        }
      },
      () => void count(text, name),
    );
    if (problem) card.say(problem);
  }

  function forget() {
    counted = null;
    card.stop();
    draw();
  }

  function draw() {
    holds(counted && `the token counts of ${counted.name}`);
    zone.hidden = counted !== null;
    if (!counted) return result.replaceChildren();
    const { name, n_tokens, n_distinct, n_cut, counts, form } = counted;
    const most = Array.from(descending(counts).subarray(0, N_MOST)).filter((id) => counts[id] > 0);
    const list = element(
      "ol",
      "most",
      ...most.map((id) =>
        element("li", "", tokenButton(id, shown[id], selection), element("span", "muted", ` ${plain(counts[id])}`)),
      ),
    );
    result.replaceChildren(
      element(
        "p",
        "",
        `${name}: ${form ? `counts with the sum ${plain(n_tokens)}` : `${integer(n_tokens)} tokens`}, ${integer(n_distinct)} distinct (${percent(n_distinct / counts.length)} of the vocabulary). `,
        button("chip small", "Remove", () => {
          forget();
          onCounts();
        }),
      ),
      element(
        "p",
        "muted",
        form
          ? `Read as ${form}. A token that is not there counts 0.`
          : n_cut === 0
            ? "Cut only between words, where the tokenizer begins anew: the counts are those of the whole text."
            : `At ${integer(n_cut)} places there was no gap between words to cut at: a few tokens there may differ from those of the whole text.`,
      ),
      element("p", "muted", "Another file, dropped anywhere in this view, replaces it. The most frequent:"),
      list,
    );
    markPicked(result, selection);
  }

  function csv() {
    if (!counted) return { head: ["token_id", "token", "count"], lines: [] };
    const { counts } = counted;
    return {
      head: ["token_id", "token", "count"],
      lines: Array.from(descending(counts))
        .filter((id) => counts[id] > 0)
        .map((id) => [id, shown[id], counts[id]]),
    };
  }

  selection.subscribe(() => markPicked(result, selection));
  return { element: card.element, accept, now: () => counted };
}

const plain = (count: number) => (Number.isInteger(count) ? integer(count) : significant(count));
