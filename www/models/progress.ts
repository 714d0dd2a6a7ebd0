/** One honest bar for an opening: the step it is at, bytes of the total, rate, time left, and Cancel. */
import { bytes, bytesOf, timeLeft } from "../lib/format.ts";
import { createRate } from "./pace.ts";
import type { Step } from "../engine/protocol.ts";

export type Words = { title: string; text: string; received: number | null; total: number | null };

/** @param rate bytes per second */
function wordsOf(step: Step, rate: number | null): Words {
  switch (step.step) {
    case "look-up":
      return { title: "Looking up the model", text: "", received: null, total: null };
    case "wait":
      return {
        title: `Waiting ${Math.max(1, Math.round(step.ms / 1000))} s to try again`,
        text: step.reason,
        received: null,
        total: null,
      };
    case "prepare":
      return { title: `Preparing ${step.name}`, text: "", received: null, total: null };
    case "load": {
      const { verb, name, received, total } = step;
      const parts = [total ? bytesOf(received, total) : bytes(received)];
      if (rate) parts.push(`${bytes(rate)}/s`);
      if (rate && total) parts.push(timeLeft(((total - received) / rate) * 1000));
      return { title: `${verb} ${name}`, text: parts.join(" · "), received, total };
    }
  }
}

export function createProgress({
  title,
  text,
  bar,
  cancel,
}: {
  title: HTMLElement;
  text: HTMLElement;
  bar: HTMLProgressElement;
  cancel: HTMLElement;
}) {
  const pace = createRate();
  let [received, total] = [0, 0];
  return {
    begin(words: string, can_cancel: boolean) {
      pace.reset();
      [received, total] = [0, 0];
      title.textContent = words;
      text.textContent = "";
      cancel.hidden = !can_cancel;
      bar.removeAttribute("value");
    },

    show(step: Step) {
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
