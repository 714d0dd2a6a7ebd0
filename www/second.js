// @ts-check
/** The second text: its box, its reading under the same options, and how the two are compared. */
import { fitHeight } from "./controls.js";
import { button, byId } from "./dom.js";
import { counted } from "./format.js";
import { sharedPrefix } from "./quantities.js";
import { areAlike } from "./reading.js";

/** @typedef {import("./reading.js").PlainReading} PlainReading */

const DEBOUNCE_MS = 250;

/**
 * @param {object} page
 * @param {() => import("./state.js").PageState} page.state
 * @param {(part: Partial<import("./state.js").PageState>) => void} page.change
 * @param {(text: string) => Promise<PlainReading | null>} page.read
 * @param {() => void} page.redraw
 */
export function createSecond(page) {
  const box = /** @type {HTMLTextAreaElement} */ (byId("second"));
  const how = /** @type {HTMLSelectElement} */ (byId("compare"));
  const toggle = button("chip small compare-chip", "Compare with a second text", () => {
    const is_open = page.state().second !== null;
    page.change({ second: is_open ? null : page.state().text });
    show();
    if (!is_open) box.focus();
    void read();
  });
  /** @type {PlainReading | null} */
  let second = null;
  /** @type {PlainReading | null} */
  let first = null;
  let timer = 0;
  const say = (/** @type {string} */ words) => void (byId("second-status").textContent = words);

  function show() {
    const { second: text, compare } = page.state();
    byId("second-box").hidden = text === null;
    toggle.setAttribute("aria-expanded", String(text !== null));
    toggle.textContent = text === null ? "Compare with a second text" : "Close the second text";
    if (text !== null && box.value !== text) box.value = text;
    how.value = compare;
    if (text !== null) fitHeight(box);
  }

  async function read() {
    const { second: text } = page.state();
    if (!text || !first) {
      second = null;
      say(text === "" ? "Type a second text." : "");
      return page.redraw();
    }
    try {
      const fresh = await page.read(text);
      // It may have been changed, emptied or closed meanwhile.
      if (!fresh || !first || !areAlike(first, fresh) || page.state().second !== text) return;
      second = fresh;
      const n = sharedPrefix(first, fresh);
      const is_same = n === first.n_tokens && n === fresh.n_tokens;
      say(is_same ? "The same text: change a word and see what follows from it." : `${counted(fresh.n_tokens, "token")}; ${n === 0 ? "the first differs." : `the first ${n === 1 ? "is" : `${n} are`} the same, where the difference is exactly 0.`}`);
    } catch (error) {
      second = null;
      say(/** @type {Error} */ (error).message);
    }
    page.redraw();
  }

  box.addEventListener("input", () => {
    fitHeight(box);
    page.change({ second: box.value });
    clearTimeout(timer);
    timer = window.setTimeout(read, DEBOUNCE_MS);
  });
  how.addEventListener("change", () => {
    page.change({ compare: how.value === "beside" ? "beside" : "difference" });
    page.redraw();
  });

  return {
    toggle,
    show,
    /** The first text was read: the second one follows, under the same options. Without a first one there is none to compare with. @param {PlainReading | null} fresh */
    first(fresh) {
      first = fresh;
      // Until it is read again, a second reading of another model or with other options is not shown.
      if (!first || (second && !areAlike(first, second))) {
        second = null;
        say("");
      }
      if (first && page.state().second !== null) void read();
    },
    reading: () => (page.state().second === null ? null : second),
  };
}
