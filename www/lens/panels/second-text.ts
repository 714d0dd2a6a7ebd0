/** The second text: its box, its reading under the same options, and how the two are compared. */
import { alignmentWords } from "../../reading/comparison.ts";
import { fitHeight } from "./toolbar.ts";
import { button, byId } from "../../ui/dom.ts";
import type { PageState } from "../../state/page-state.ts";
import type { PlainReading } from "../../reading/reading.ts";
import type { Comparison } from "../../reading/comparison.ts";

const DEBOUNCE_MS = 250;

export function createSecond(page: {
  state: () => PageState;
  change: (part: Partial<PageState>) => void;
  /** null if it was overtaken */
  compare: (text: string, first: PlainReading) => Promise<Comparison | null>;
  close: () => void;
  redraw: () => void;
}) {
  const box = byId<HTMLTextAreaElement>("second");
  const how = byId<HTMLSelectElement>("compare");
  const toggle = button("chip small compare-chip", "Compare with a second text", () => {
    const is_open = page.state().second !== null;
    page.change({ second: is_open ? null : page.state().text });
    show();
    if (is_open) page.close();
    else box.focus();
    void readAndDraw();
  });
  let comparison: Comparison | null = null;
  let first: PlainReading | null = null;
  let timer = 0;
  const say = (words: string) => void (byId("second-status").textContent = words);

  function show() {
    const { second: text, compare } = page.state();
    byId("second-box").hidden = text === null;
    toggle.setAttribute("aria-expanded", String(text !== null));
    toggle.textContent = text === null ? "Compare with a second text" : "Close the second text";
    if (text !== null && box.value !== text) box.value = text;
    how.value = compare;
    if (text !== null) fitHeight(box);
  }

  /** Ends when the comparison is there, or is not to be expected any more. */
  async function read() {
    const { second: text } = page.state();
    if (!text || !first) {
      comparison = null;
      say(text === "" ? "Type a second text." : "");
      return;
    }
    try {
      const fresh = await page.compare(text, first);
      // It may have been changed, emptied or closed meanwhile.
      if (!fresh || fresh.first !== first || page.state().second !== text) return;
      comparison = fresh;
      say(alignmentWords(fresh));
    } catch (error) {
      comparison = null;
      say((error as Error).message);
    }
  }

  async function readAndDraw() {
    const before = first;
    await read();
    if (first === before) page.redraw();
  }

  box.addEventListener("input", () => {
    fitHeight(box);
    page.change({ second: box.value });
    clearTimeout(timer);
    timer = window.setTimeout(readAndDraw, DEBOUNCE_MS);
  });
  how.addEventListener("change", () => {
    page.change({ compare: how.value === "beside" ? "beside" : "difference" });
    page.redraw();
  });

  return {
    toggle,
    show,
    /**
     * The first text was read: the second one follows, under the same options. Without a first one there is none to
     * compare with.
     */
    async first(fresh: PlainReading | null) {
      first = fresh;
      // A comparison is of two readings: with another first one it is made anew.
      comparison = null;
      if (!first) say("");
      else if (page.state().second !== null) await read();
    },
    comparison: () => (page.state().second === null ? null : comparison),
  };
}
