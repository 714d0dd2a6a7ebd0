/** The states that were run: what came of each, a way back to it, a link, and which one the picture is compared with. */
import { button, element, replaceKeyed } from "../ui/dom.ts";

const MAX_STATES = 30;

/** What was run: edits, as the address has them, of these texts. */
export type State = { edits: string; texts: string; of: string };

export function createHistory(on: {
  /** back to a state */
  go: (edits: string) => void;
  /** the state to compare with is another one */
  against: () => void;
  words: (edits: string) => string[];
}) {
  /** The oldest first, of all texts. */
  let states: (State & { result: string })[] = [];
  /** The state that differences are from; null: the run without edits. */
  let against: string | null = null;
  let now: State = { edits: "", texts: "", of: "" };
  const list = element("ol", "history");
  list.setAttribute("aria-label", "States, the newest first");
  const said = element("p", "muted");
  said.setAttribute("role", "status");
  /** The states that were seen, the newest last, without those that were gone back from. */
  let visited = [""];
  const undo = button("chip small", "Undo", () => {
    visited.pop();
    on.go(visited.at(-1) ?? "");
  });
  const home = element(
    "section",
    "history-box",
    element("div", "field-row", element("h3", "", "States"), undo),
    list,
    said,
  );

  /** Those of the texts that are there. */
  const shown = () => states.filter(({ texts }) => texts === now.texts);

  function draw() {
    undo.disabled = visited.length < 2;
    home.hidden = shown().length === 0 && visited.length < 2;
    replaceKeyed(
      list,
      ...shown()
        .toReversed()
        .map(({ edits, of, result }) => {
          const words = on.words(edits);
          const is_now = edits === now.edits;
          const go = button("history-go", result, () => on.go(edits));
          go.title = words.join("\n");
          go.dataset.key = `go ${edits}`;
          if (is_now) go.setAttribute("aria-current", "true");
          const is_against = against === edits;
          const compare = button("link", is_against ? "compared with" : "compare", () => {
            against = is_against ? null : edits;
            on.against();
            draw();
          });
          // Runs of different texts have no cells in common.
          compare.hidden = !is_against && (is_now || of !== now.of);
          compare.setAttribute("aria-pressed", String(is_against));
          compare.setAttribute("aria-label", `${is_against ? "compared with" : "compare with"} ${result}`);
          compare.dataset.key = `compare ${edits}`;
          const link = button("link", "link", () => void copy(edits));
          link.setAttribute("aria-label", `link to ${result}`);
          link.dataset.key = `link ${edits}`;
          return element(
            "li",
            is_now ? "chosen" : "",
            go,
            element("span", "muted history-words", words.join(" · ")),
            compare,
            link,
          );
        }),
    );
  }

  async function copy(edits: string) {
    const address = new URL(location.href);
    const fields = new URLSearchParams(address.hash.slice(1));
    fields.delete("packed3");
    fields.set("edits", edits);
    address.hash = fields.toString();
    try {
      await navigator.clipboard.writeText(address.href);
      said.textContent = "Copied: texts, model, view and these edits are in the link.";
    } catch (error) {
      said.textContent = `That failed: ${(error as Error).message}`;
    }
  }

  return {
    element: home,
    /** The edits that the present run is compared with, if that can be; null: the run without edits. */
    chosenAgainst() {
      const found = shown().find(({ edits, of }) => edits === against && of === now.of && edits !== now.edits);
      return found?.edits ?? null;
    },
    /** The page is in this state. */
    visit(state: State) {
      now = state;
      if (state.edits !== visited.at(-1)) visited.push(state.edits);
      draw();
    },
    /** What came of it. */
    add(state: State, result: string) {
      const known = states.find(({ edits, texts }) => edits === state.edits && texts === state.texts);
      if (known) known.result = result;
      else states = [...states, { ...state, result }].slice(-MAX_STATES);
    },
    draw,
    /** Another model. */
    forget() {
      [states, against, visited] = [[], null, [now.edits]];
      draw();
    },
  };
}
