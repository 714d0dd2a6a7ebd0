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

type Swept = {
  what: Causes["sweep"][0]["what"];
  direction: "denoise" | "noise";
  answer: Causes["sweep"][1];
  texts: { a: PlainReading };
};

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

const headsFrom = (text: "a" | "b", heads: [block: number, head: number][]) =>
  heads.map(([block, head]) => ({ at: `h.${block}.attn_out`, head, from: { text } }));

const EXAMPLES: Example[] = [
  {
    name: "she or he",
    of: "tales",
    a: "The princess sat down and began to weep, for",
    b: "The prince sat down and began to weep, for",
    run: {
      of: "b",
      edits: headsFrom("a", [
        [2, 3],
        [5, 4],
        [6, 4],
      ]),
    },
    sweep: { what: "stream", direction: "denoise" },
    look: "One word differs, and with it the pronoun that follows. Three heads of the run of text A are put into that of text B. The sweep shows where the difference is: at the word itself up to the middle of the model, then at the last position, to which those heads have copied it.",
  },
  {
    name: "who copies plasma?",
    of: "tales",
    a: "Sometimes, when people say plasma, they mean a state of matter. Other times, when people say plas",
    b: null,
    run: {
      of: "a",
      edits: [
        { at: "h.7.attn_out", head: 5, to: "zero" },
        { at: "h.7.attn_out", head: 2, to: "zero" },
      ],
    },
    sweep: null,
    look: "The second half of the word can be copied from its first occurrence. Two heads of the last block, which score high in the grid of heads that repeat, are set to zero: look whether the copied token survives. Put one of them back, by ×, to see that they share the work.",
  },
  {
    name: "indirect object",
    of: "gpt2",
    a: "When Mary and John went to the store, John gave a drink to",
    b: "When Mary and John went to the store, Mary gave a drink to",
    run: {
      of: "b",
      edits: headsFrom("a", [
        [9, 9],
        [9, 6],
        [10, 0],
      ]),
    },
    sweep: { what: "heads", direction: "denoise" },
    look: "The sentence of Wang et al. (2022): the name that is not repeated receives the drink. The three name movers that the paper found, heads 9 and 6 of block 9 and head 0 of block 10, are put from text A into text B. The sweep tries every head.",
  },
  {
    name: "channel 138",
    of: "gpt2",
    a: "The quick brown fox jumps over the lazy dog and runs away into the forest, where it meets another fox.",
    b: null,
    run: {
      of: "a",
      edits: Array.from({ length: 9 }, (_, i) => ({ weights: `h.${i + 2}.ln_2`, channel: 138, scale: 0 })),
    },
    sweep: null,
    look: "Adam Scherlis’s study found that the gains of ln_2 in blocks 2 to 10 single out channel 138. Here the MLPs of these blocks do not see it. The atlas’ page of this channel has a slider for it.",
  },
];

/** Whether a model is GPT-2 124M, by its sizes. */
const isGpt2 = ({ family, n_layer, n_embd, vocab_size }: Record<string, unknown>) =>
  family === "gpt2" && n_layer === 12 && n_embd === 768 && vocab_size === 50257;

export function createExamples(page: {
  store: Store;
  sweep: (how: { what: Swept["what"]; direction: "denoise" | "noise" }) => void;
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

  let offered_of: object | null = null;

  return {
    element: home,
    draw() {
      const now = store.model.peek();
      const offered = EXAMPLES.filter(isOf);
      home.hidden = offered.length === 0;
      // The focus stays on the one that was pressed.
      if (offered_of !== now)
        bar.replaceChildren(
          element("span", "muted", "Worked examples"),
          ...buttons.filter((_, i) => isOf(EXAMPLES[i])),
        );
      offered_of = now;
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
  const last = (of: PlainReading) => candidates(of, { tap: finalTap(of), position: of.n_tokens - 1 });
  const [before] = ran ? last(ran.base) : [];
  const after = ran ? last(ran.edited) : [];
  if (before && after[0]) {
    const { shown } = before.token;
    const now = after.find(({ token }) => token.id === before.token.id);
    const then =
      after[0].token.id === before.token.id
        ? `with them still with ${shown} (${percent(after[0].probability)})`
        : `with them with ${after[0].token.shown} (${percent(after[0].probability)}), where ${shown} has ${now ? percent(now.probability) : `less than ${percent(after[after.length - 1].probability)}`}`;
    said.push(`Without edits the text goes on with ${shown} (${percent(before.probability)}), ${then}.`);
  }
  if (sweep) {
    const { values, rows, columns } = sweep.answer;
    // Noise takes the answer away, so that the smallest value is the strongest effect.
    const sign = sweep.direction === "denoise" ? 1 : -1;
    const best = values.reduce((best, value, i) => (sign * value > sign * values[best] ? i : best), 0);
    const [row, column] = [rows[Math.floor(best / columns)], best % columns];
    const place = sweep.what === "heads" ? `${row} head ${column}` : `${row} at ${sweep.texts.a.tokens[column].shown}`;
    said.push(`In the sweep ${place} has the strongest effect, ${decimal(values[best], 2)}.`);
  }
  return said.join(" ");
}
