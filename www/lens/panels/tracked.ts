/** Beside the name of a view of a tracked token: which token that is, and a field for another one. */
import { tokenById } from "../../reading/reading.ts";
import { byId, optionsOf } from "../../ui/dom.ts";
import { createFollowForm } from "./follow.ts";
import type { PlainReading } from "../../reading/reading.ts";
import type { FollowPage } from "./follow.ts";

export function createTrackedPicker(page: FollowPage) {
  const { store } = page;
  const form = byId<HTMLFormElement>("track-token");
  const select = byId<HTMLSelectElement>("track-group");
  const problem = form.querySelector("p") as HTMLElement;
  createFollowForm({ form, input: byId<HTMLInputElement>("track-text"), problem }, page);
  select.addEventListener("change", () => store.change({ tracked: Number(select.value) }, true));

  /** Names of tokens that the reading does not name, by the model that they are of. */
  const names: WeakMap<object, Map<number, string>> = new WeakMap();
  const namesOf = ({ model }: PlainReading) => {
    const known = (model && names.get(model)) ?? new Map<number, string>();
    if (model) names.set(model, known);
    return known;
  };

  /** Resolves to whether there are new names. */
  async function learn(reading: PlainReading, ids: number[]) {
    const known = namesOf(reading);
    const unknown = ids.filter((id) => !known.has(id));
    if (unknown.length === 0 || !reading.model) return false;
    const tokens = await page
      .engine()
      .tokens(unknown)
      .catch(() => []);
    for (const { id, shown } of tokens) known.set(id, shown);
    return tokens.length > 0;
  }

  function fill(reading: PlainReading, choices: number[][]) {
    const known = namesOf(reading);
    const nameOf = (group: number[]) => group.map((id) => known.get(id) ?? tokenById(reading, id).shown).join(" | ");
    select.replaceChildren(...optionsOf(choices.map((group, i) => [String(i), nameOf(group)] as const)));
    select.value = String(store.groups.peek().length > 0 ? store.tracked.peek() : 0);
  }

  return {
    /** Draws what the store says: the followed tokens or, until there is one, the one that is tracked by itself. */
    draw() {
      const [reading, groups] = [store.reading.peek(), store.groups.peek()];
      form.hidden = store.view.peek().is_tracked !== true || !reading;
      if (form.hidden || !reading) return;
      const choices = groups.length > 0 ? groups : [store.group.peek()];
      fill(reading, choices);
      void learn(reading, choices.flat()).then((is_new) => is_new && store.reading.peek() === reading && this.draw());
    },
  };
}
