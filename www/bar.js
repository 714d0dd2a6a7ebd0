// @ts-check
/** One honest bar for an opening: the step it is at, bytes of the total, rate, time left, and Cancel. */
import { bytes, bytesOf, timeLeft } from "./format.js";
import { createPace } from "./pace.js";

/** @typedef {import("./engine.js").Step} Step */
/** @typedef {{ title: string, text: string, received: number | null, total: number | null }} Words */

/** @param {Step} step @param {number | null} rate bytes per second @returns {Words} */
function wordsOf(step, rate) {
  switch (step.step) {
    case "look-up": return { title: "Looking up the model", text: "", received: null, total: null };
    case "wait": return { title: `Waiting ${Math.max(1, Math.round(step.ms / 1000))} s to try again`, text: step.reason, received: null, total: null };
    case "prepare": return { title: `Preparing ${step.name}`, text: "", received: null, total: null };
    case "load": {
      const { verb, name, received, total } = step;
      const parts = [total ? bytesOf(received, total) : bytes(received)];
      if (rate) parts.push(`${bytes(rate)}/s`);
      if (rate && total) parts.push(timeLeft(((total - received) / rate) * 1000));
      return { title: `${verb} ${name}`, text: parts.join(" · "), received, total };
    }
  }
}

/**
 * @param {object} parts
 * @param {HTMLElement} parts.title
 * @param {HTMLElement} parts.text
 * @param {HTMLProgressElement} parts.bar
 * @param {HTMLElement} parts.cancel
 */
export function createBar({ title, text, bar, cancel }) {
  const pace = createPace();
  let [received, total] = [0, 0];
  return {
    /** @param {string} words @param {boolean} can_cancel */
    begin(words, can_cancel) {
      pace.reset();
      [received, total] = [0, 0];
      title.textContent = words;
      text.textContent = "";
      cancel.hidden = !can_cancel;
      bar.removeAttribute("value");
    },

    /** @param {Step} step */
    show(step) {
      if (step.step !== "load") pace.reset();
      const words = wordsOf(step, step.step === "load" ? pace.rate(step.received, performance.now()) : null);
      title.textContent = words.title;
      text.textContent = words.text;
      if (words.received !== null && words.total !== null) [received, total] = [words.received, words.total];
      // A wait leaves the bar where it is; only what has no measure moves by itself.
      if (total > 0 && step.step !== "prepare") {
        bar.max = total;
        bar.value = received;
      } else {
        bar.removeAttribute("value");
      }
    },

    /** How far it has come, 0 to 1; null while unknown. */
    share: () => (total > 0 ? received / total : null),
  };
}
