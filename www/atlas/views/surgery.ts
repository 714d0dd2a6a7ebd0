/** One channel turned up or down in what blocks read, in the embedding or the unembedding: what it does to the loss. */
import { button, element } from "../../ui/dom.ts";
import { choiceOf, slider } from "../../ui/fields.ts";
import { decimal } from "../../lib/format.ts";
import { NO_EDITS, formatEdits, parseEdits, withWeights } from "../../reading/edits.ts";
import { lossChange } from "../../reading/loss-change.ts";
import type { PageEdit } from "../../reading/edits.ts";
import type { Stage } from "../types.ts";

const TARGETS: [string, string][] = [
  ["ln_2", "what MLPs read (ln_2)"],
  ["ln_1", "what attention reads (ln_1)"],
  ["ln_f", "what the decoder reads (ln_f)"],
  ["embed", "the embedding, as it is looked up"],
  ["unembed", "the unembedding, as it makes logits"],
  ["wpe", "the positions (wpe)"],
];
const RANGE: [number, number] = [-1, 2];
/** The lens of the model's own output. */
const OWN_OUTPUT = { norm: "affine" as const, subblocks: false, contributions: false, decoder: [] };

export function createSurgery({ ask, selection, edits, card }: Stage) {
  let scale = 1;
  const figure = card({
    name: "surgery",
    title: "Change this channel",
    is_picture: false,
    words:
      "Multiplies the channel for one run and reads the text of the lens again. The stored model is not changed; the edit stands in the tab Causes and in the link.",
  });
  const target = choiceOf("in", TARGETS, () => show());
  const [first, last] = ["from block", "to block"].map((label) => {
    const input = element("input", "");
    Object.assign(input, { type: "number", min: "0", step: "1" });
    input.addEventListener("change", () => show());
    return { input, element: element("label", "field", element("span", "muted", label), input) };
  });
  const factor = element("output", "surgery-factor");
  const turn = slider("scale", 0.05, (value, is_over) => {
    scale = value;
    write();
    if (is_over) apply();
  });
  const badge = element("span", "edited-badge", "edited model");
  const said = element("p", "surgery-loss");
  said.setAttribute("role", "status");
  const undo = button("chip small", "Undo", () => {
    scale = 1;
    apply();
  });
  const open = button("chip small", "Show the edited run", edits.show);
  figure.tools.append(target.element, first.element, last.element, turn.element, factor, undo, open);
  figure.body.append(badge, said);

  const nLayer = () => Number(ask.facts.n_layer ?? 1);
  const isOfBlocks = () => target.select.value === "ln_1" || target.select.value === "ln_2";
  function blocks() {
    const [a, b] = [first, last].map(({ input }) =>
      Math.min(nLayer() - 1, Math.max(0, Math.round(Number(input.value)))),
    );
    return Array.from({ length: Math.max(0, b - a + 1) }, (_, i) => a + i);
  }
  /** The weights that the fields name. */
  const weights = () =>
    isOfBlocks() ? blocks().map((block) => `h.${block}.${target.select.value}`) : [target.select.value];
  const now = () => parseEdits(edits.get()) ?? NO_EDITS;
  /** The channel's scale in the weights that the fields name; 1 where it is not edited. */
  function scaleNow() {
    const found = now().edits.find(
      (each) => "weights" in each && weights().includes(each.weights) && each.channel === selection.channel,
    );
    return found && "weights" in found ? (found.scale ?? 1) : 1;
  }

  function write() {
    turn.set(scale, RANGE, `times ${decimal(scale)}`);
    factor.textContent = `× ${decimal(scale)}`;
    for (const { element } of [first, last]) element.hidden = !isOfBlocks();
    const has_edits = now().edits.some((each) => "weights" in each);
    badge.hidden = open.hidden = !has_edits;
    undo.hidden = scaleNow() === 1;
  }

  function apply() {
    const run = now();
    const changed = weights().reduce<PageEdit[]>(
      (list, name) => withWeights(list, { weights: name, channel: selection.channel, scale }),
      run.edits,
    );
    // A run of the text of the lens, unless a person edits the other one already.
    const text = formatEdits({ of: run.edits.length === 0 ? "a" : run.of, edits: changed });
    if (text !== "" && parseEdits(text) === null) return figure.say("These are too many edits. Nothing was changed.");
    edits.set(text);
  }

  const changedWeights = () => now().edits.filter((each) => "weights" in each);
  /** What the sentence is about: it is measured again where something of that has changed. */
  let measured = "";

  /** The loss of the text of the lens with these weights, by the model's own output. */
  async function measure() {
    const [changed, base] = [changedWeights(), edits.reading()];
    const about = JSON.stringify([changed, base?.serial]);
    if (about === measured) return;
    measured = about;
    said.textContent = "";
    figure.reset();
    if (changed.length === 0) return;
    if (!base) return figure.say("The text of the lens is being read.");
    if (base.n_tokens < 3)
      return figure.say("The change of the loss needs a text of three tokens or more in the lens.");
    const { serial } = base;
    const question = { base: serial, texts: { a: serial, b: null }, track: [], asked: OWN_OUTPUT };
    const found = await figure.run(
      async (watch) => ({
        before: base.final_is_model ? base : await ask.edited({ ...question, role: "against", edits: [] }, watch),
        after: await ask.edited({ ...question, role: "edited", edits: changed }, watch),
      }),
      () => {
        measured = "";
        void measure();
      },
    );
    if (!found || about !== measured) return;
    const { before, mean, low, high, n } = lossChange(found.before, found.after);
    said.textContent = `Loss of the lens’ text: ${decimal(before)} → ${decimal(before + mean)} nats, ${mean < 0 ? "" : "+"}${decimal(mean, 3)} (95 % interval ${decimal(low, 3)} to ${decimal(high, 3)}, ${n} predictions).`;
  }

  function show() {
    for (const { input } of [first, last]) {
      input.max = String(nLayer() - 1);
      if (input.value === "") input.value = String(input === first.input ? 0 : nLayer() - 1);
    }
    figure.setTitle(`Change channel ${selection.channel}`);
    figure.element.hidden = ask.facts.partial === true;
    scale = scaleNow();
    write();
  }

  // After Back, another text, or edits that were removed elsewhere.
  edits.follow(() => {
    if (!figure.element.isConnected) return;
    scale = scaleNow();
    write();
    void measure();
  });

  return {
    element: figure.element,
    /** Fills the fields with what a block reads. */
    prefill(norm: "ln_1" | "ln_2", block: number) {
      target.select.value = norm;
      for (const { input } of [first, last]) input.value = String(block);
      show();
      turn.input.focus();
    },
    show() {
      show();
      void measure();
    },
  };
}
