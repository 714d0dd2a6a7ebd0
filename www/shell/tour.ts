/** Three steps that show a first visitor what there is: shown once, skipped or finished, and on request. */
import { byId } from "../ui/dom.ts";
import { readPreference, writePreference } from "../ui/preferences.ts";

/** `at`: the id of what a step speaks of. */
const STEPS = [
  {
    at: "text",
    title: "Type a text",
    text: "The model reads it as you type, on this device. Each column of the picture is one token of it.",
  },
  {
    at: "picture",
    title: "Read a column upwards",
    text: "A row is the model after one of its blocks. Each cell names the token that the model would write next if it stopped there; the top row is its real answer. Colour says how strongly the row already expects that answer.",
  },
  {
    at: "cell-panel",
    title: "Look into a cell",
    text: "Point at a cell, and its most likely tokens are listed here. Click to pin the cell; Shift-click to pin several. Click a token to plot it through the rows.",
  },
];

const NAME = "tour";
const DONE = "done";

export function createTour() {
  const box = byId("tour");
  const next = byId("tour-next");
  let step = -1;

  function show(to: number) {
    for (const { at } of STEPS) byId(at).classList.remove("toured");
    step = to;
    box.hidden = step < 0 || step >= STEPS.length;
    if (box.hidden) return writePreference(NAME, DONE);
    const { at, title, text } = STEPS[step];
    byId(at).classList.add("toured");
    byId("tour-title").textContent = title;
    byId("tour-text").textContent = text;
    byId("tour-count").textContent = `${step + 1} of ${STEPS.length}`;
    next.textContent = step === STEPS.length - 1 ? "Done" : "Next";
  }

  next.addEventListener("click", () => show(step + 1));
  byId("tour-skip").addEventListener("click", () => show(-1));
  box.addEventListener("keydown", ({ key }) => key === "Escape" && show(-1));

  return {
    /** On the first visit. */
    offer: () => readPreference(NAME) !== DONE && show(0),
    start() {
      show(0);
      next.focus();
    },
  };
}
