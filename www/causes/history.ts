/** The states that were run: what came of each, a way back to it, a link, and which one the picture is compared with. */
import { button, element, replaceKeyed } from "../ui/dom.ts";

const MAX_STATES = 30;

export function createHistory(on: {
  /** back to a state */
  go: (edits: string) => void;
  /** the state to compare with is another one */
  against: () => void;
  words: (edits: string) => string[];
}) {
  /** The oldest first. */
  let states: { edits: string; result: string }[] = [];
  /** The state that differences are from; null: the run without edits. */
  let against: string | null = null;
  let now = "";
  const list = element("ol", "history");
  list.setAttribute("aria-label", "States, the newest first");
  const said = element("p", "muted");
  said.setAttribute("role", "status");
  /** Every state that was seen, with those that were gone back to. */
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

  function draw() {
    home.hidden = states.length === 0;
    replaceKeyed(
      list,
      ...states.toReversed().map(({ edits, result }) => {
        const words = on.words(edits);
        const go = button("history-go", result, () => on.go(edits));
        go.title = words.join("\n");
        go.dataset.key = `go ${edits}`;
        if (edits === now) go.setAttribute("aria-current", "true");
        const is_against = against === edits;
        const compare = button("link", is_against ? "compared with" : "compare", () => {
          against = is_against ? null : edits;
          on.against();
          draw();
        });
        compare.setAttribute("aria-pressed", String(is_against));
        compare.setAttribute("aria-label", `${is_against ? "compared with" : "compare with"} ${result}`);
        compare.dataset.key = `compare ${edits}`;
        const link = button("link", "link", () => void copy(edits));
        link.setAttribute("aria-label", `link to ${result}`);
        link.dataset.key = `link ${edits}`;
        return element(
          "li",
          edits === now ? "chosen" : "",
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
    chosenAgainst: () => against,
    /** The page is in this state. */
    visit(edits: string) {
      if (edits !== visited.at(-1)) visited.push(edits);
      undo.disabled = visited.length < 2;
    },
    add(edits: string, result: string) {
      const known = states.find((state) => state.edits === edits);
      if (known) known.result = result;
      else states = [...states, { edits, result }].slice(-MAX_STATES);
    },
    draw(edits: string) {
      now = edits;
      draw();
    },
    /** Another model. */
    forget() {
      [states, against, visited] = [[], null, [now]];
      draw();
    },
  };
}
