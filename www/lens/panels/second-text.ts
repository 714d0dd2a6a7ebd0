/** The second text: its box, its reading under the same options, and how the two are compared. */
import { alignmentWords } from "../../reading/comparison.ts";
import { fitHeight } from "./toolbar.ts";
import { button, byId } from "../../ui/dom.ts";
import type { Comparison } from "../../reading/comparison.ts";
import type { PlainReading } from "../../reading/reading.ts";
import type { Store } from "../../state/store.ts";

const DEBOUNCE_MS = 250;

export function createSecond({
  store,
  compare,
}: {
  store: Store;
  /** null if it was overtaken */
  compare: (text: string, first: PlainReading) => Promise<Comparison | null>;
}) {
  const box = byId<HTMLTextAreaElement>("second");
  const how = byId<HTMLSelectElement>("compare");
  const toggle = button("chip small compare-chip", "Compare with a second text", () => {
    const is_open = store.second.peek() !== null;
    store.setSecond(is_open ? null : store.text.peek());
    if (!is_open) box.focus();
    void again();
  });
  let timer = 0;
  const say = (words: string) => void (byId("second-status").textContent = words);

  /** How the second text's reading differs from the first one; null where there is none, or where it was overtaken. */
  async function compareWith(first: PlainReading): Promise<Comparison | null> {
    const text = store.second.peek();
    if (!text) {
      say(text === "" ? "Type a second text." : "");
      return null;
    }
    try {
      const found = await compare(text, first);
      // It may have been changed, emptied or closed meanwhile.
      if (!found || store.second.peek() !== text) return null;
      say(alignmentWords(found));
      return found;
    } catch (error) {
      say((error as Error).message);
      return null;
    }
  }

  /** The second text is another one. */
  async function again() {
    const first = store.reading.peek();
    const text = store.second.peek();
    if (!text) store.setComparison(null);
    if (!first) return;
    const found = await compareWith(first);
    if (store.reading.peek() === first && store.second.peek() === text) store.setComparison(found);
  }

  box.addEventListener("input", () => {
    fitHeight(box);
    store.setSecond(box.value);
    clearTimeout(timer);
    timer = window.setTimeout(() => void again(), DEBOUNCE_MS);
  });
  how.addEventListener("change", () => store.change({ compare: how.value === "beside" ? "beside" : "difference" }));

  return {
    toggle,
    compareWith,
    again,
    /** There is nothing to compare with. */
    clear: () => say(""),
    /** Draws what the store says of it. */
    draw() {
      const text = store.second.value;
      byId("second-box").hidden = text === null;
      toggle.setAttribute("aria-expanded", String(text !== null));
      toggle.textContent = text === null ? "Compare with a second text" : "Close the second text";
      if (text !== null && box.value !== text) box.value = text;
      how.value = store.compare.value;
      if (text !== null) fitHeight(box);
    },
  };
}
