/** The example texts, one button each; what to look for in the one that is open, and what this model shows. */
import { button, byId, element } from "../../ui/dom.ts";
import { EXAMPLES } from "../../reading/examples.ts";
import { findingOf } from "../../reading/findings.ts";
import type { Engine } from "../../engine/client.ts";
import type { PlainReading } from "../../reading/reading.ts";
import type { Example } from "../../reading/examples.ts";

export function createExampleBar(page: {
  engine: () => Engine;
  model: () => { name: string; n_ctx: number };
  open: (example: Example, text: string, ids: Uint32Array | null) => void;
  /** another button beside them */
  beside: HTMLElement;
}) {
  /** One that was cut to fit, and the text that it became. */
  let cut: { example: Example; text: string; n_tokens: number } | null = null;

  async function open(example: Example) {
    const { n_ctx } = page.model();
    cut = null;
    // Without a model, or if it cannot say, the whole text is tried.
    const n_tokens =
      n_ctx > 0
        ? await page
            .engine()
            .count(example.text)
            .catch(() => 0)
        : 0;
    if (n_tokens <= n_ctx) return page.open(example, example.text, null);
    // An engine that is closed meanwhile answers no more.
    const kept = await page
      .engine()
      .keep(example.text, n_ctx, "first")
      .catch(() => null);
    if (!kept) return;
    const { text, ids } = kept;
    cut = { example, text, n_tokens };
    page.open(example, text, ids);
  }

  const buttons = EXAMPLES.map((example) => button("chip small", example.name, () => void open(example)));
  byId("examples").replaceChildren(element("span", "muted", "Try"), ...buttons);
  byId("examples").after(page.beside);

  /** Counts what was to be said: only the newest is. */
  let n_shown = 0;

  return {
    /** Says what to look for, if the text is an example. */
    async show(text: string, reading: PlainReading | null) {
      const example = cut?.text === text ? cut.example : EXAMPLES.find((each) => each.text === text);
      EXAMPLES.forEach((each, i) => buttons[i].setAttribute("aria-pressed", String(each === example)));
      byId("example").hidden = !example || !reading;
      const mine = ++n_shown;
      byId("example-finding").textContent = "What to look for";
      if (!example || !reading) return;
      const { name, n_ctx } = page.model();
      byId("example-look").textContent =
        example.look +
        (cut?.text === text ? ` Cut to the first ${n_ctx} of ${cut.n_tokens} tokens: more do not fit ${name}.` : "");
      const abort = new AbortController();
      const trace = (ids: number[], position: number) =>
        page.engine().trace(reading.serial, ids, { position }, abort.signal);
      const finding = await findingOf(example, reading, trace).catch(() => null);
      // Another text or model may have come meanwhile.
      if (finding !== null && mine === n_shown)
        byId("example-finding").textContent = finding ? `${name} here: ${finding}` : "What to look for";
    },
  };
}
