/** Beside the name of a view of a tracked token: which token that is, and a field for another one. */
import { tokenById } from "../../reading/reading.ts";
import { byId, optionsOf } from "../../ui/dom.ts";
import { createFollowForm } from "./follow.ts";
import type { FollowPage } from "./follow.ts";

export function createTrackedPicker(page: FollowPage) {
  const { store } = page;
  const form = byId<HTMLFormElement>("track-token");
  const select = byId<HTMLSelectElement>("track-group");
  const problem = form.querySelector("p") as HTMLElement;
  createFollowForm({ form, input: byId<HTMLInputElement>("track-text"), problem }, page);
  select.addEventListener("change", () => store.change({ tracked: Number(select.value) }, true));

  return {
    /** Draws what the store says: the followed tokens or, until there is one, the one that is tracked by itself. */
    draw() {
      const [reading, groups] = [store.reading.peek(), store.groups.peek()];
      form.hidden = store.view.peek().is_tracked !== true || !reading;
      if (form.hidden || !reading) return;
      const nameOf = (group: number[]) => group.map((id) => tokenById(reading, id).shown).join(" | ");
      const choices = groups.length > 0 ? groups : [store.group.peek()];
      select.replaceChildren(...optionsOf(choices.map((group, i) => [String(i), nameOf(group)] as const)));
      select.value = String(groups.length > 0 ? store.tracked.peek() : 0);
    },
  };
}
