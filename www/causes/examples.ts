/** Worked examples: two texts, edits, a sweep, and what this model shows of it, computed on the spot. */
import { decimal, percent } from "../lib/format.ts";
import { formatEdits } from "../reading/edits.ts";
import { candidates, finalTap } from "../reading/reading.ts";
import { formatHash } from "../state/page-state.ts";
import { button, element } from "../ui/dom.ts";
import type { EditedRun } from "../reading/edits.ts";
import type { PlainReading } from "../reading/reading.ts";
import type { Store } from "../state/store.ts";
import type { Causes } from "../engine/protocol.ts";
import type { Ran } from "./types.ts";

type Swept = { what: Causes["sweep"][0]["what"]; answer: Causes["sweep"][1]; texts: { a: PlainReading } };

interface Example {
  name: string;
  /** which models it is for */
  of: "tales" | "gpt2";
  a: string;
  b: string | null;
  run: EditedRun;
  sweep: { what: Swept["what"]; direction: "denoise" | "noise" } | null;
  look: string;
}

const EXAMPLES: Example[] = [];

/** Whether a model is GPT-2 124M, by its sizes. */
const isGpt2 = ({ family, n_layer, n_embd, vocab_size }: Record<string, unknown>) =>
  family === "gpt2" && n_layer === 12 && n_embd === 768 && vocab_size === 50257;

export function createExamples(page: {
  store: Store;
  sweep: (how: { what: Swept["what"]; direction: "denoise" | "noise" }) => void;
  run: () => Promise<void>;
  results: () => { ran: Ran | null; sweep: Swept | null };
}) {
  const { store } = page;
  const bar = element("div", "examples");
  bar.setAttribute("role", "group");
  bar.setAttribute("aria-label", "Worked examples");
  const look = element("p", "example-look");
  const finding = element("p", "finding");
  finding.setAttribute("role", "status");
  const home = element("section", "card causes-examples", bar, look, finding);
  home.setAttribute("aria-label", "Worked examples");

  const buttons = EXAMPLES.map((example) =>
    button("chip small", example.name, async () => {
      if (example.sweep) page.sweep(example.sweep);
      const { a: text, b: second, run } = example;
      // As a link: texts, edits and the way back are followed where every address is.
      location.hash = await formatHash({
        ...store.address.peek(),
        text,
        second,
        pins: [],
        edits: formatEdits(run),
        causes: true,
      });
    }),
  );

  const isOf = ({ of }: Example) => {
    const now = store.model.peek();
    return now !== null && (of === "tales" ? now.in_use.source.kind === "bundled" : isGpt2(now.model));
  };

  return {
    element: home,
    draw() {
      const offered = EXAMPLES.filter(isOf);
      home.hidden = offered.length === 0;
      bar.replaceChildren(element("span", "muted", "Worked examples"), ...buttons.filter((_, i) => isOf(EXAMPLES[i])));
      const open = offered.find(({ a, b }) => a === store.text.peek() && b === store.second.peek());
      EXAMPLES.forEach((each, i) => buttons[i].setAttribute("aria-pressed", String(each === open)));
      look.hidden = finding.hidden = !open;
      if (!open) return;
      look.textContent = open.look;
      finding.textContent = findingOf(page.results());
    },
  };
}

/** What the run and the sweep show, in a sentence each. */
export function findingOf({ ran, sweep }: { ran: Ran | null; sweep: Swept | null }) {
  const said: string[] = [];
  if (ran) {
    const last = (of: PlainReading) => candidates(of, { tap: finalTap(of), position: of.n_tokens - 1 });
    const [before, after] = [last(ran.base)[0], last(ran.edited)];
    if (before && after[0]) {
      const kept = after.find(({ token }) => token.id === before.token.id);
      said.push(
        `Without edits the text goes on with ${before.token.shown} (${percent(before.probability)}); with them ${
          after[0].token.id === before.token.id
            ? `still, at ${percent(after[0].probability)}`
            : `with ${after[0].token.shown} (${percent(after[0].probability)}), and ${before.token.shown} falls to ${kept ? percent(kept.probability) : "less than the twentieth place"}`
        }.`,
      );
    }
  }
  if (sweep) {
    const { values, rows, columns } = sweep.answer;
    const best = values.reduce((best, value, i) => (value > values[best] ? i : best), 0);
    const [row, column] = [rows[Math.floor(best / columns)], best % columns];
    const place = sweep.what === "heads" ? `${row} head ${column}` : `${row} at ${sweep.texts.a.tokens[column].shown}`;
    said.push(`In the sweep ${place} has the largest value, ${decimal(values[best], 2)}.`);
  }
  return said.join(" ");
}
