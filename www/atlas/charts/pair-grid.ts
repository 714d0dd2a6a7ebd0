/** Some pairs of channels as small clouds, by whether both, one or none of them is position-heavy. */
import { button, element } from "../../ui/dom.ts";
import { columnOf } from "../stats/maths.ts";
import { nFirst, pairsOf } from "../stats/pairs.ts";
import type { Stage } from "../types.ts";
import type { Pair } from "../stats/pairs.ts";

/** What the engine said. */
export type Known = { positions: Float32Array; heavy: Uint8Array };

const N_EACH = 4;
const HEIGHT = 170;
const GROUPS = [
  ["heavy", "both position-heavy"],
  ["each", "one of each"],
  ["neither", "neither position-heavy"],
] as ["heavy" | "each" | "neither", string][];

export function createCloudOfPairs({ ask, options, card, cloud }: Stage, onChoose: (pair: Pair) => void) {
  let known: Known | null = null;
  let pairs: { kind: string; pair: Pair }[] = [];
  const figure = card({
    name: "pairs",
    title: "Some other pairs",
    csv: () => ({ head: ["group", "x_channel", "y_channel"], lines: pairs.map(({ kind, pair }) => [kind, ...pair]) }),
  });
  figure.tools.append(
    button("chip small", "Other pairs", () => {
      options.set("seed", String(seed() + 1));
      void draw();
    }),
  );
  figure.tools.append(element("span", "muted", "A title opens the pair above."));
  const seed = () => (/^\d{1,6}$/.test(options.get("seed") ?? "") ? Number(options.get("seed")) : 0);
  const panels = GROUPS.map(([kind, label]) => {
    const title = element("p", "group-title", label);
    title.dataset.caption = "";
    const cells = Array.from({ length: N_EACH }, () => {
      const [at, name] = [element("div", ""), element("span", "")];
      name.dataset.caption = "";
      const open = element("button", "link multiple-title", name);
      open.type = "button";
      const pair: Pair = [0, 0];
      open.addEventListener("click", () => onChoose([pair[0], pair[1]]));
      return {
        pair,
        name,
        box: element("div", "multiple", open, at),
        cloud: cloud(at, { selects: "tokens", is_small: true, height: HEIGHT, label: `A pair of channels, ${label}` }),
      };
    });
    const box = element("div", "", title, element("div", "multiples", ...cells.map((cell) => cell.box)));
    figure.body.append(box);
    return { kind, cells, box };
  });

  async function draw() {
    if (!known) return;
    const { positions, heavy } = known;
    const n_embd = Number(ask.facts.n_embd);
    const chosen = panels.map(({ kind }) => pairsOf(kind, heavy, N_EACH, seed() + 1));
    figure.setWords(
      `At random, by whether the channels are position-heavy: ${ask.has("wte") ? "tokens, and over them the line of the positions" : "the line of the positions"}.`,
    );
    pairs = panels.flatMap(({ kind }, p) => chosen[p].map((pair) => ({ kind, pair })));
    await figure.run(async (watch) => {
      const { shown } = ask.has("wte") ? await ask.vocabulary() : { shown: [] };
      let done = 0;
      for (const [p, { cells, box }] of panels.entries()) {
        box.hidden = chosen[p].length === 0;
        for (const [i, cell] of cells.entries()) {
          const pair = chosen[p][i];
          cell.box.hidden = !pair;
          if (!pair) continue;
          const [x, y] = pair;
          const columns = ask.has("wte")
            ? [await ask.channel(x, watch), await ask.channel(y, watch)]
            : [new Float32Array(0), new Float32Array(0)];
          if (watch.signal.aborted) return;
          [cell.pair[0], cell.pair[1]] = pair;
          cell.name.textContent = `${x} and ${y}`;
          cell.cloud.show({
            key: `${x} ${y}`,
            x: columns[0],
            y: columns[1],
            x_label: `channel ${x}`,
            y_label: `channel ${y}`,
            name: (id) => shown[id] ?? `#${id}`,
            over: {
              x: columnOf(positions, n_embd, x),
              y: columnOf(positions, n_embd, y),
              name: "positions",
              css: "var(--series-4)",
              n_faint: nFirst(columnOf(positions, n_embd, x)),
            },
          });
          watch.onProgress({ done: ++done / pairs.length });
        }
      }
    });
  }

  return {
    element: figure.element,
    show(now: Known) {
      known = now;
      void draw();
    },
    /** Out of sight: columns that nobody looks at are not asked for. */
    hide: figure.stop,
  };
}
