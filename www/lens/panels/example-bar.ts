/** The example texts, one button each; what to look for in the one that is open, and what this model shows. */
import { button, byId, element } from "../../ui/dom.ts";
import { EXAMPLES } from "../../reading/examples.ts";
import { findingOf } from "../../reading/findings.ts";
import type { Engine } from "../../engine/client.ts";
import type { PlainReading } from "../../reading/reading.ts";
import type { Example } from "../../reading/examples.ts";

export function createExampleBar(page: {
  engine: () => Engine;
  /** of the model in use */
  name: () => string;
  open: (example: Example) => void;
  /** another button beside them */
  beside: HTMLElement;
}) {
  const buttons = EXAMPLES.map((example) => button("chip small", example.name, () => page.open(example)));
  byId("examples").replaceChildren(element("span", "muted", "Try"), ...buttons);
  byId("examples").after(page.beside);

  /** Counts what was to be said: only the newest is. */
  let n_shown = 0;

  return {
    /** Says what to look for, if the text is an example. */
    async show(text: string, reading: PlainReading | null) {
      const example = EXAMPLES.find((each) => each.text === text);
      EXAMPLES.forEach((each, i) => buttons[i].setAttribute("aria-pressed", String(each === example)));
      byId("example").hidden = !example || !reading;
      const mine = ++n_shown;
      byId("example-finding").textContent = "What to look for";
      if (!example || !reading) return;
      byId("example-look").textContent = example.look;
      const abort = new AbortController();
      const trace = (ids: number[], position: number) =>
        page.engine().trace(reading.serial, ids, { position }, abort.signal);
      const finding = await findingOf(example, reading, trace).catch(() => null);
      // Another text or model may have come meanwhile.
      if (finding !== null && mine === n_shown)
        byId("example-finding").textContent = finding ? `${page.name()} here: ${finding}` : "What to look for";
    },
  };
}
