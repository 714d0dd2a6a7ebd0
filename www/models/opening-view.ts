/** How an opening shows on the page: the bar in the place of the first picture, or the one below the text; notices. */
import { hideNotice, showNotice } from "../ui/notice.ts";
import { writePreference, readPreference } from "../ui/preferences.ts";
import { byId } from "../ui/dom.ts";
import { createProgress } from "./progress.ts";
import { wantsKeeping } from "./storage.ts";
import type { OpeningView } from "./controller.ts";

const barAt = (prefix: string, bar: string) =>
  createProgress({
    title: byId(`${prefix}-title`),
    text: byId(`${prefix}-text`),
    bar: byId<HTMLProgressElement>(bar),
    cancel: byId(`${prefix}-cancel`),
  });

export function createOpeningView(): OpeningView {
  const [first, later] = [barAt("loading", "progress"), barAt("transfer", "transfer-bar")];
  let bar = first;
  return {
    begin(title, is_first, can_wait) {
      bar = is_first ? first : later;
      bar.begin(title, can_wait);
      byId("transfer").hidden = is_first;
    },
    step: (step) => bar.show(step),
    end: () => void (byId("transfer").hidden = true),
    notice: showNotice,
    hideNotice,
    chooseFiles: () => byId("files").click(),
    onCancel(cancel) {
      for (const prefix of ["loading", "transfer"]) byId(`${prefix}-cancel`).addEventListener("click", cancel);
    },
    wantsKeeping,
    lastChosen: () => readPreference("model"),
    remember: (model) => writePreference("model", model),
  };
}
