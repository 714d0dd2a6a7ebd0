/** The second text: its box, its reading under the same options, and how the two are compared. */
import { integer } from "../../lib/format.ts";
import { alignmentWords } from "../../reading/comparison.ts";
import { fitHeight } from "./toolbar.ts";
import { button, byId } from "../../ui/dom.ts";
import type { Comparison } from "../../reading/comparison.ts";
import type { PlainReading } from "../../reading/reading.ts";
import type { Store } from "../../state/store.ts";

const DEBOUNCE_MS = 250;

/** How much of a second text that is too long was read. */
const partWords = ({ n_read, n_text, kept }: PlainReading) =>
  n_read === n_text
    ? ""
    : `Read the ${kept} ${integer(n_read)} of its ${integer(n_text)} tokens; the rest do not fit. `;

export function createSecond({
  store,
  compare,
  newest,
}: {
  store: Store;
  /** null if it was overtaken */
  compare: (text: string, first: PlainReading) => Promise<Comparison | null>;
  /** the newest reading of the first text, which may not be in the picture yet */
  newest: () => PlainReading | null;
}) {
  const box = byId<HTMLTextAreaElement>("second");
  const how = byId<HTMLSelectElement>("compare");
  const toggle = button("chip small compare-chip", "Compare with…", () => {
    const is_open = store.second.peek() !== null;
    store.setSecond(is_open ? null : store.text.peek());
    if (!is_open) box.focus();
    void again();
  });
  let timer = 0;
  const say = (words: string) => void (byId("second-status").textContent = words);

  /** The newest comparison. */
  let pending: { first: PlainReading; found: Promise<Comparison | null> } | null = null;
  let is_failed = false;

  /**
   * How the second text's reading differs from the first one; null where there is none. One that is overtaken by
   * another second text ends with that one's.
   */
  async function compareWith(first: PlainReading): Promise<Comparison | null> {
    const mine = { first, found: compareNow(first) };
    pending = mine;
    const found = await mine.found;
    // Nothing, because another one has begun: its answer is this one's too.
    return found === null && pending !== mine && pending.first === first ? pending.found : found;
  }

  async function compareNow(first: PlainReading): Promise<Comparison | null> {
    const text = store.second.peek();
    is_failed = false;
    if (!text) {
      say(text === "" ? "Type a second text." : "");
      return null;
    }
    try {
      const found = await compare(text, first);
      // It may have been changed, emptied or closed meanwhile.
      if (!found || store.second.peek() !== text) return null;
      say(`${partWords(found.second)}${alignmentWords(found)}`);
      return found;
    } catch (error) {
      is_failed = true;
      say((error as Error).message);
      return null;
    }
  }

  /** The second text is another one. */
  async function again() {
    const first = newest();
    const text = store.second.peek();
    if (!text) store.setComparison(null);
    if (!first) return;
    const found = await compareWith(first);
    // A comparison that was overtaken says nothing: the reading that overtook it has its own.
    if (store.reading.peek() === first && store.second.peek() === text && (found || is_failed || !text))
      store.setComparison(found);
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
      toggle.textContent = text === null ? "Compare with…" : "Close the second text";
      if (text !== null && box.value !== text) box.value = text;
      how.value = store.compare.value;
      if (text !== null) fitHeight(box);
    },
  };
}
