/** The selected channel as a number that can be typed, and a button to either neighbour. */
import { button } from "../ui/dom.ts";
import { numberField } from "../ui/fields.ts";
import type { Queries } from "./queries.ts";
import type { Selection } from "../state/selection.ts";

export function createChannelField(ask: Queries, selection: Selection) {
  const last = () => Number(ask.facts.n_embd) - 1;
  const go = (to: number) => selection.setChannel(Math.min(last(), Math.max(0, to)));
  const field = numberField("Channel", last, go);
  const before = button("chip small", "‹", () => go(selection.channel - 1));
  const after = button("chip small", "›", () => go(selection.channel + 1));
  before.setAttribute("aria-label", "Previous channel");
  after.setAttribute("aria-label", "Next channel");
  return {
    elements: [field.element, before, after],
    input: field.input,
    show() {
      field.set(selection.channel);
      [before.disabled, after.disabled] = [selection.channel === 0, selection.channel >= last()];
    },
  };
}
