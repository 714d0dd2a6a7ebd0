/** Beside every view: the channel and the tokens that are selected, in short. */
import { axisX, axisY, gridY, line } from "@observablehq/plot";
import { chart } from "../graphics/plot.ts";
import { button, element, replaceKeyed } from "../ui/dom.ts";
import { integer, significant } from "../lib/format.ts";
import { createChannelField } from "./channel-field.ts";
import { MAX_PICKED } from "../state/page-state.ts";
import { gainLines } from "./charts/gain-lines.ts";
import { columnOf } from "./stats/maths.ts";
import type { Queries } from "./queries.ts";
import type { Selection } from "../state/selection.ts";

/** More rows than these nobody reads here. */
const MAX_LISTED = 100;
const HEIGHT = 124;

export function createSelectionPanel({
  ask,
  selection,
  lens,
}: {
  ask: Queries;
  selection: Selection;
  /** shows the lens */
  lens: () => void;
}) {
  const field = createChannelField(ask, selection);
  field.input.setAttribute("aria-label", "Selected channel");
  const why = element("p", "muted", "selected in every picture");
  const gains_at = element("div", "chart small-chart");
  const wpe_at = element("div", "chart small-chart");
  const words = element("p", "muted");
  const channel_card = element(
    "section",
    "card atlas-card side-card",
    element("h2", "channel-title", ...field.elements),
    why,
    words,
    gains_at,
    wpe_at,
  );
  channel_card.setAttribute("aria-label", "Selected channel");

  const count = element("p", "muted");
  const list = element("ol", "picked");
  const actions = element(
    "div",
    "field-row",
    button("chip small", "Show in the lens", lens),
    button("chip small", "Clear", () => selection.setTokens([])),
  );
  const tokens_card = element(
    "section",
    "card atlas-card side-card",
    element("h2", "", "Selected tokens"),
    count,
    list,
    actions,
  );
  tokens_card.setAttribute("aria-label", "Selected tokens");

  // A list that ends in mid-air is seen to go on.
  const fade = () => void list.classList.toggle("goes-on", list.scrollTop + list.clientHeight < list.scrollHeight - 2);
  list.addEventListener("scroll", fade);
  new ResizeObserver(fade).observe(list);

  async function showChannel() {
    const c = selection.channel;
    field.show();
    const [gains, stats, positions] = await Promise.all([
      ask.has("norms") ? ask.gains().catch(() => []) : [],
      ask.channels().catch(() => null),
      ask.has("wpe") ? ask.positions().catch(() => null) : null,
    ]);
    if (c !== selection.channel) return;
    const width = Math.max(220, channel_card.clientWidth - 32);
    const said = [];
    if (stats && stats.wte_std.length > c)
      said.push(`wte: mean ${significant(stats.wte_mean[c])}, std ${significant(stats.wte_std[c])}`);
    if (stats && stats.wpe_std.length > c)
      said.push(`wpe: mean ${significant(stats.wpe_mean[c])}, std ${significant(stats.wpe_std[c])}`);
    words.textContent = said.join("; ");
    const { legend, svg } = gainLines(gains, c, { width, height: HEIGHT, n_ticks: 3 });
    gains_at.replaceChildren(...(gains.length > 0 ? [legend] : []), ...(svg ? [svg] : []));
    const n_embd = Number(ask.facts.n_embd);
    wpe_at.replaceChildren(
      ...(positions
        ? [
            wpeChart(
              Array.from(columnOf(positions, n_embd, c), (y, x) => ({ x, y })),
              width,
            ),
          ]
        : []),
    );
  }

  async function showTokens() {
    const ids = [...selection.tokens];
    const n_vocab = Number(ask.facts.vocab_size) || 0;
    count.textContent =
      ids.length === 0
        ? ask.has("wte")
          ? "None yet: click a point, or drag a rectangle with Shift."
          : "This file has no tokens to select."
        : `${integer(ids.length)} of ${integer(n_vocab)}, marked in every picture and in the lens${ids.length > MAX_LISTED ? `; the first ${MAX_LISTED} are listed` : ""}${ids.length > MAX_PICKED ? `, a link keeps the first ${MAX_PICKED}` : ""}`;
    actions.hidden = ids.length === 0;
    const { shown } =
      ids.length > 0 && n_vocab > 0 ? await ask.vocabulary().catch(() => ({ shown: [] })) : { shown: [] };
    if ([...selection.tokens].join() !== ids.join()) return;
    replaceKeyed(
      list,
      ...ids.slice(0, MAX_LISTED).map((id) => {
        const drop = button("picked-drop", "×", () => selection.toggleToken(id));
        drop.setAttribute("aria-label", `Deselect ${shown[id] ?? id}`);
        drop.dataset.key = String(id);
        return element(
          "li",
          "",
          element("span", "muted picked-id", String(id)),
          element("span", "token", shown[id] ?? `#${id}`),
          drop,
        );
      }),
    );
    list.hidden = ids.length === 0;
    fade();
  }

  const show = () => void Promise.all([showChannel(), showTokens()]);
  let is_asked = false;
  selection.subscribe(() => {
    if (is_asked || !ask.facts.n_embd) return;
    is_asked = true;
    // Several changes of one moment are one.
    requestAnimationFrame(() => {
      is_asked = false;
      show();
    });
  });

  return {
    element: element("aside", "atlas-side", channel_card, tokens_card),
    show,
    /** Why this channel is shown first. */
    reason: (words: string) => void (why.title = words),
  };
}

const wpeChart = (curve: { x: number; y: number }[], width: number) =>
  chart(
    {
      width,
      height: HEIGHT,
      marginLeft: 40,
      marginBottom: 36,
      marginTop: 20,
      marginRight: 12,
      x: { domain: [0, Math.max(1, curve.length - 1)] },
      marks: [
        gridY({ ticks: 3 }),
        axisY({ label: "wpe", labelArrow: "none", tickSize: 0, ticks: 3 }),
        axisX({
          label: "position",
          labelAnchor: "center",
          labelArrow: "none",
          tickSize: 3,
          ticks: 5,
          tickFormat: (x: number) => String(x),
        }),
        line(curve, { x: "x", y: "y", stroke: "var(--accent)", strokeWidth: 1.5 }),
      ],
    },
    "wpe of this channel over the positions",
  );
