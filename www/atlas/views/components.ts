/** View 10: a basis other than singular vectors, of directions that a token can only add. */
import { button, element, optionsOf, replaceKeyed } from "../../ui/dom.ts";
import { choiceOf } from "../../ui/fields.ts";
import { counted, decimal, integer, percent } from "../../lib/format.ts";
import { createLatest } from "../../lib/latest.ts";
import { flopText } from "../stats/cost.ts";
import { componentsOf, flopOf, partsOf } from "../stats/components.ts";
import { markPicked, tokenButton } from "../token-table.ts";
import { hasText } from "./overlap.ts";
import type { Component } from "../stats/components.ts";
import type { Components, Vocabulary } from "../queries.ts";
import type { Shown, Stage } from "../types.ts";

/** The engine answers with no more. */
const MAX_LOADINGS = 2 ** 24 - 4;
const SIZES = [8, 16, 32, 64, 128];
const DEFAULT_SIZE = 16;
const ITERATIONS = 100;
/** Less than this starts by itself: a software adapter does it in some seconds. */
const QUICK_FLOP = 5e10;
/** So many tokens stand on a card, and so many parts in the line of a token. */
const N_TOKENS = 12;
const N_PARTS = 6;
/** So many selected tokens have a line. */
const N_LINES = 8;
/** At the end of the run, the rise of which says whether it has settled. */
const N_LAST = 10;

type Found = {
  n: number;
  components: Component[];
  answer: Components;
  vocabulary: Vocabulary;
  /** of as many singular directions */
  of_svd: number;
};

export function create({ ask, options, selection, card: make }: Stage): Shown {
  const latest = createLatest();
  const card = make({ name: "components", title: "Components that only add", is_picture: false, csv });
  const parts_card = make({
    name: "parts",
    title: "What the selected tokens are made of",
    words: "The components that a token has most of, with their loadings: its embedding is about their sum.",
    is_picture: false,
    csv: partsCsv,
  });
  const whole = element("div", "atlas-view", card.element, parts_card.element);
  const size = choiceOf("Components", [], (value) => {
    options.set("n", value === String(DEFAULT_SIZE) ? null : value);
    void show();
  });
  card.tools.append(size.element);
  const cost = element("p", "");
  const before = element("div", "zero-before", cost, element("div", "field-row", startButton()));
  const answer = element("p", "atlas-answer");
  answer.setAttribute("data-caption", "");
  const cards = element("ol", "component-cards");
  card.body.append(before, answer, cards);
  const lines = element("ul", "component-parts");
  parts_card.body.append(lines);
  let found: Found | null = null;

  function startButton() {
    const made = button("chip main", "Factorise", () => void start());
    made.dataset.act = "factorise";
    return made;
  }

  const facts = () => ({ n_tokens: Number(ask.facts.vocab_size), n_channels: Number(ask.facts.n_embd) });
  function sizes() {
    const { n_channels, n_tokens } = facts();
    const most = Math.min(n_channels, n_tokens, Math.max(1, Math.floor(MAX_LOADINGS / n_tokens)));
    const fitting = SIZES.filter((n) => n <= most);
    return fitting.length > 0 ? fitting : [most];
  }

  function sizeNow() {
    const wanted = Number(options.get("n") ?? DEFAULT_SIZE);
    return sizes().includes(wanted) ? wanted : (sizes().findLast((n) => n <= DEFAULT_SIZE) ?? sizes()[0]);
  }

  function show() {
    const n = sizeNow();
    if (size.select.options.length === 0)
      size.select.append(...optionsOf(sizes().map((n) => [String(n), String(n)] as const)));
    size.select.value = String(n);
    if (found?.n === n) return draw(found);
    latest.begin();
    card.reset();
    found = null;
    const { n_tokens, n_channels } = facts();
    const flop = flopOf(n_tokens, n_channels, n, ITERATIONS);
    card.setWords(
      `wte ≈ G · F with G ≥ 0 (semi-nonnegative factorisation): the embedding of a token is a sum of ${counted(n, "direction")}, each of which it can have more or less of, but never subtract.`,
    );
    cost.textContent = `${ITERATIONS} iterations over ${integer(n_tokens)} tokens: 4·V·n·C each, ${flopText(flop)} in all; and the singular values, to compare with.`;
    [before.hidden, answer.hidden, cards.hidden, parts_card.element.hidden] = [false, true, true, true];
    if (flop < QUICK_FLOP) void start();
  }

  async function start() {
    const isCurrent = latest.begin();
    const n = sizeNow();
    before.hidden = true;
    const done = await card.run(
      async (watch) => {
        const [answer, spectrum, norms, vocabulary] = await Promise.all([
          ask.components(n, ITERATIONS, watch),
          ask.spectrum({ signal: watch.signal }),
          ask.norms({ signal: watch.signal }),
          ask.vocabulary(),
        ]);
        const squares = norms.reduce((sum, norm) => sum + norm * norm, 0);
        const of_svd = spectrum.singular_values.subarray(0, n).reduce((sum, s) => sum + s * s, 0) / squares;
        const { startsWithSpace } = vocabulary;
        const components = componentsOf(answer.tokens, { n, k: N_TOKENS, squares, startsWithSpace });
        return { n, components, answer, vocabulary, of_svd: Math.min(1, of_svd) };
      },
      () => void start(),
    );
    if (!isCurrent()) return;
    if (!done) return void (before.hidden = found !== null);
    found = done;
    draw(done);
  }

  function draw(now: Found) {
    const { n, components, answer: of, of_svd, vocabulary } = now;
    const explained = of.explained.at(-1) ?? NaN;
    const rise = explained - (of.explained.at(-1 - N_LAST) ?? NaN);
    [before.hidden, answer.hidden, cards.hidden, parts_card.element.hidden] = [true, false, false, false];
    answer.textContent = `Together they explain ${percent(explained)} of the sum of squares of wte; the first ${counted(n, "singular direction")}, which may be subtracted and explain the most that any ${n} can, ${percent(of_svd)}. The last ${N_LAST} of ${ITERATIONS} iterations added ${percent(rise)}. Another start can end with other components.`;
    replaceKeyed(cards, ...components.map((component, i) => cardOf(component, i, vocabulary)));
    drawParts();
  }

  function cardOf({ tokens, share, n_strongest, n_spaced }: Component, i: number, vocabulary: Vocabulary) {
    const heading = button("component-name", `Component ${i}`, () => selection.setTokens(tokens.map(({ id }) => id)));
    heading.title = "Select its tokens everywhere";
    heading.dataset.key = `component ${i}`;
    const spaced =
      hasText(vocabulary) && n_strongest > 0 ? `, ${percent(n_spaced / n_strongest)} of them with a space before` : "";
    const made = tokens.map(({ id, loading }) => {
      const token = tokenButton(id, vocabulary.shown[id], selection);
      token.dataset.key = `${i} ${id}`;
      token.title = `#${id} · loading ${decimal(loading, 3)}. ${token.title}`;
      return token;
    });
    const item = element(
      "li",
      "component-card",
      element("h3", "", heading),
      element(
        "p",
        "muted",
        `${percent(share)} of the squares by itself; the largest of ${counted(n_strongest, "token")}${spaced}`,
      ),
      element("div", "component-tokens", ...made),
    );
    markPicked(item, selection);
    return item;
  }

  const selected = () => [...selection.tokens].slice(0, N_LINES);

  function drawParts() {
    if (!found) return;
    const { answer: of, n, vocabulary } = found;
    const made = selected().map((id) => {
      const parts = partsOf(of.tokens, n, id, N_PARTS).map(
        ({ component, loading }) => `${decimal(loading, 3)} × component ${component}`,
      );
      return element(
        "li",
        "",
        element("span", "token", vocabulary.shown[id]),
        element("span", "", ` ≈ ${parts.join(" + ") || "0"}`),
      );
    });
    lines.replaceChildren(
      ...(made.length > 0 ? made : [element("li", "muted", "No token is selected; a click on one selects it.")]),
    );
  }

  function csv() {
    const rows = (found?.components ?? []).flatMap(({ tokens, share, n_strongest }, component) =>
      tokens.map(({ id, loading }, place) => [
        component,
        share,
        n_strongest,
        place + 1,
        id,
        found?.vocabulary.shown[id] ?? "",
        loading,
      ]),
    );
    return {
      head: ["component", "share_of_squares", "tokens_with_no_larger", "place", "token_id", "token", "loading"],
      lines: rows,
    };
  }

  function partsCsv() {
    const of = found;
    const rows = of
      ? selected().flatMap((id) =>
          partsOf(of.answer.tokens, of.n, id, of.n).map(({ component, loading }) => [
            id,
            of.vocabulary.shown[id],
            component,
            loading,
          ]),
        )
      : [];
    return { head: ["token_id", "token", "component", "loading"], lines: rows };
  }

  selection.subscribe(() => {
    markPicked(cards, selection);
    drawParts();
  });

  return { element: whole, show, hide: () => card.stop() };
}
