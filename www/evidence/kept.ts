/** Is the input kept? The post's best-known claim, tested on the model in use: claim, picture, control, number. */
import { decimal, integer, ordinal, percent } from "../lib/format.ts";
import { correlationOf, spearmanInterval } from "../lib/correlation.ts";
import { createHeatGrid } from "../cards/heat-grid.ts";
import { crossing, meansByRow, visitorsOf } from "../reading/depth.ts";
import { tokenById } from "../reading/reading.ts";
import { button, element, replaceOptions } from "../ui/dom.ts";
import { choiceOf } from "../ui/fields.ts";
import { depthCurves } from "./curves.ts";
import type { Evidence, LensEntry } from "../engine/protocol.ts";
import type { PlainReading } from "../reading/reading.ts";
import type { Store } from "../state/store.ts";
import type { Curve } from "./curves.ts";
import type { GridCell } from "../cards/heat-grid.ts";
import type { Stage } from "./types.ts";

type Done = { reading: PlainReading; probe: LensEntry | null; answer: Evidence["kept"][1] };

/** The same shift of the control every time. */
const SEED = 4;
const BANDS = "Means over the positions of this text but the first, with 95 % intervals over positions.";
const C = ["var(--series-0)", "var(--series-1)", "var(--series-2)", "var(--series-3)"];

export function createKept(stage: Stage, store: Store, { norms }: { norms: (ids: number[]) => Promise<number[]> }) {
  const { ask, card } = stage;
  let done: Done | null = null;
  let lengths: number[] = [];

  const figure = card({
    name: "is-the-input-kept",
    title: "Is the input kept?",
    words:
      "The post: after the first block, the input is thrown away, and the model goes straight to guesses at the output. That is what the logit lens sees. What is there to be seen by other means?",
    csv: () => table(),
    again: () => void run(),
  });
  const probe_choice = choiceOf("probe", [], () => {});
  figure.tools.append(
    probe_choice.element,
    button("chip main", "Test it on this text", () => void run()),
  );
  const hint = element("p", "muted");
  const grid = createHeatGrid("Rank of the token by its distance from the reconstruction", {
    words: recoveredWords,
    choose: ({ row, column }) => {
      if (!done) return;
      store.point({ tap: done.answer.taps.length - 1 - row, position: column, is_second: false });
      store.open(null);
    },
  });
  const chapters = element("div", "evidence-chapters");
  figure.body.append(hint, chapters);

  async function run() {
    const reading = store.reading.peek();
    if (!reading) return figure.say("There is no text yet.");
    if (reading.n_tokens < 4) return figure.say("This needs a text of four tokens or more.");
    const { norm, subblocks, contributions, decoder, lens } = reading.asked;
    if (norm !== "affine" || subblocks || contributions || decoder.length > 0 || lens)
      return figure.say(
        "This speaks of blocks under the logit lens: choose blocks as rows, ln_f as norm, no borrowed block, and the logit lens.",
      );
    const probe = store.probes.peek().find(({ name }) => name === probe_choice.select.value) ?? null;
    const answer = await figure.run(async (watch) => {
      const found = await ask("kept", { serial: reading.serial, probe: probe?.name ?? null, seed: SEED }, watch);
      lengths = await norms(reading.tokens.map(({ id }) => id));
      return found;
    });
    if (!answer || reading !== store.reading.peek()) return;
    done = { reading, probe, answer };
    draw();
  }

  const means = (values: ArrayLike<number>) => meansByRow(values, done!.answer.taps.length, done!.reading.n_tokens);
  /** Of one chapter: two stand side by side where there is room. */
  const widthOf = () => {
    const all = chapters.clientWidth || 640;
    return Math.max(280, Math.min(660, all >= 1080 ? (all - 28) / 2 : all));
  };

  /** One chapter: what is claimed, the picture, the number for this model. */
  function chapter(title: string, claim: string, picture: Node | null, finding: string) {
    const found = element("p", "finding-words", finding);
    const made = element("section", "evidence-chapter", element("h3", "", title), element("p", "muted", claim));
    if (picture) made.append(picture);
    made.append(found);
    return made;
  }

  /** What may say for which tokens the input stays, and its correlation with the rank of the input in each row. */
  function covariatesOf({ reading, answer: { taps } }: Done) {
    const [n, last] = [reading.n_tokens, taps.length - 1];
    const seen = new Set<number>();
    const repeated = reading.tokens.map(({ id }) => {
      const is_repeat = seen.has(id);
      seen.add(id);
      return Number(is_repeat);
    });
    const covariates: [name: string, key: string, values: number[]][] = [
      [
        "surprise: −log p of the token",
        "surprise",
        reading.tokens.map((_, t) => (t === 0 ? NaN : -reading.stats.logprob_next[last * n + t - 1])),
      ],
      ["rarity: its id", "token_id", reading.tokens.map(({ id }) => id)],
      ["length of its embedding", "embedding_length", lengths],
      ["seen before in this text", "seen_before", repeated],
    ];
    return covariates.map(([name, key, values]) => ({
      name,
      key,
      values: taps.map((_, row) => {
        const ranks = reading.stats.rank_input.slice(row * n + 1, (row + 1) * n);
        const { spearman, n: n_pairs } = correlationOf(values.slice(1), ranks);
        return { mean: spearman, ...spearmanInterval(spearman, n_pairs), n: n_pairs };
      }),
    }));
  }

  function draw() {
    hint.textContent = done?.probe
      ? BANDS
      : done
        ? `${BANDS} To reconstruct the input, fit a probe first: above, under “Fit one here”, with “the token itself” as what it predicts.`
        : "To reconstruct the input, fit a probe first: above, under “Fit one here”, with “the token itself” as what it predicts.";
    if (!done) return chapters.replaceChildren();
    const { reading, probe, answer } = done;
    const { taps, recovered } = answer;
    const width = widthOf();
    const last = taps.length - 1;
    const parts: HTMLElement[] = [];

    const kl_input = means(reading.stats.kl_input);
    const kl_final = means(reading.stats.kl_final);
    const seen_input = means(reading.stats.rank_input.map((rank) => Number(rank === 1)));
    const at = crossing(
      kl_input.map(({ mean }) => mean),
      kl_final.map(({ mean }) => mean),
    );

    if (recovered && probe) {
      const kept = means(recovered.map((rank) => Number(rank === 1)));
      // Below 0 it is worse than the mean; that is drawn at 0.
      const r2 = taps.map((tap) => ({ mean: Math.max(0, probe.card.held_out[tap]?.r2 ?? NaN) }));
      const curves: Curve[] = [
        { name: "token recovered from the row, by the probe", css: C[0], values: kept },
        { name: "R² of the probe on held-out tokens (0 if below)", css: C[1], values: r2 },
        { name: "token on top under the logit lens", css: C[2], values: seen_input, is_ghost: true },
      ];
      const recoveredIn = (row: number) => percent(kept[row].mean);
      const held = probe.card.held_out[taps[last]]?.recovered;
      parts.push(
        chapter(
          "Can the token be read off every row?",
          "A linear map of each row, fitted on the texts of the probe, reconstructs the embedding of the token at the position; the nearest row of wte is taken as its guess. The logit lens on the same axis: how often the token itself is on top. In the grid a cell is blue where the token itself is the nearest, and brown where a hundred and more are nearer; a cell opens in the lens.",
          element("div", "", depthCurves(curves, { label: "share of positions", width, domain: [0, 1] }), grid.element),
          `Here the probe recovers ${recoveredIn(1)} of the tokens after the first block and ${recoveredIn(last)} in the last row${held === undefined ? "" : ` (${percent(held)} of ${integer(probe.card.n_held_out ?? 0)} held-out tokens)`}; the logit lens has the token on top at ${percent(seen_input[1].mean)} and ${percent(seen_input[last].mean)}. What can be decoded is not what is used: to see that, ablate it.`,
        ),
      );
    }

    parts.push(
      chapter(
        "From the input to the output",
        "How far each row is from the input's distribution and from the final one. Where the curves cross, a row is nearer to the output than to the input.",
        depthCurves(
          [
            { name: "KL(input ‖ row)", css: C[0], values: kl_input },
            { name: "KL(final ‖ row)", css: C[2], values: kl_final },
          ],
          { label: "nats", width, marked: at },
        ),
        at === null
          ? "In this text the two curves do not cross."
          : `In this text they cross first at ${percent(at)} of the depth, between ${taps[Math.floor(at * last)]} and ${taps[Math.min(last, Math.floor(at * last) + 1)]}.`,
      ),
    );

    const alone = means(answer.alone);
    // Where the control is the token itself, it controls nothing.
    const n = reading.n_tokens;
    const control = means(
      answer.control.map((value, cell) => (answer.control_ids[cell % n] === reading.tokens[cell % n].id ? NaN : value)),
    );
    const gain = alone.map(({ mean }, row) => control[row].mean - mean);
    const nearest = gain.reduce((best, value, row) => (value > (gain[best] ?? -Infinity) ? row : best), -1);
    parts.push(
      chapter(
        "What the token says by itself",
        "Perhaps early rows are guesses from the token alone. The model is run on each token alone, at its own position; the control has the same tokens at other positions. A token alone is not what the model was trained on.",
        depthCurves(
          [
            { name: "KL(alone ‖ row)", css: C[0], values: alone },
            { name: "KL(another token alone ‖ row), the control", css: C[1], values: control, is_ghost: true },
            { name: "KL(final ‖ row)", css: C[2], values: kl_final },
          ],
          { label: "nats", width },
        ),
        `At ${taps[1]} a row is ${decimal(alone[1].mean, 2)} nats from what its own token says alone, ${decimal(control[1].mean, 2)} from what another token says, ${decimal(kl_final[1].mean, 2)} from the final row. ${gain[nearest] > 0 ? `The token's own guess is nearer than the control by most at ${taps[nearest]}: ${decimal(gain[nearest], 2)} nats.` : "The token's own guess is nowhere nearer than the control."}`,
      ),
    );

    const by_covariate = covariatesOf(done);
    const strongest = by_covariate
      .map(({ name, values }) => ({ name, ...values[last] }))
      .filter(({ mean }) => Number.isFinite(mean))
      .toSorted((a, b) => Math.abs(b.mean) - Math.abs(a.mean))[0];
    parts.push(
      chapter(
        "For which tokens it stays",
        "The post: rare tokens are kept longer, “or (in some sense) surprising ones”. Spearman's correlation of each with the rank of the input in the row: below 0, more of it means a better rank.",
        depthCurves(
          by_covariate.map(({ name, values }, i) => ({ name, css: C[i], values })),
          { label: "correlation with the rank of the input", width, domain: [-1, 1] },
        ),
        strongest
          ? `In the last row of this text the strongest is ${strongest.name}: ${decimal(strongest.mean, 2)}${Number.isFinite(strongest.low) ? ` (${decimal(strongest.low, 2)} to ${decimal(strongest.high, 2)})` : ""}, over ${integer(strongest.n)} tokens, as if they did not depend on each other.`
          : "In the last row of this text there is no correlation to speak of: what is compared does not vary.",
      ),
    );

    const { step, with_before, with_final } = answer.steps;
    parts.push(
      chapter(
        "Is it one basis?",
        "The stream itself: how long each step is, relative to the row before, and the cosines with the row before and with the last row.",
        depthCurves(
          [
            { name: "length of the step", css: C[0], values: step.map(({ mean }) => ({ mean: Math.min(mean, 2) })) },
            { name: "cosine with the row before", css: C[1], values: with_before },
            { name: "cosine with the last row", css: C[2], values: with_final },
          ],
          { label: "ratio, cosine", width },
        ),
        `The first block moves the stream by ${decimal(step[1].mean, 2)} of its length, the last by ${decimal(step[last].mean, 2)}; the row after the first block has a cosine of ${decimal(with_final[1].mean, 2)} with the last one. Lengths beyond 2 are drawn at 2.`,
      ),
    );

    const visitors = visitorsOf(reading);
    const list = element(
      "ul",
      "visitor-list",
      ...visitors.map(({ id, positions, row, best, example }) =>
        element(
          "li",
          "",
          element("span", "token", tokenById(reading, id).shown),
          ` at ${integer(positions)} of ${integer(reading.n_tokens)} positions, best rank ${best} in ${row} at position ${example} `,
          button("chip small", "Follow in the lens", () => {
            store.follow([id]);
            store.open(null);
          }),
        ),
      ),
    );
    const often = visitors[0];
    parts.push(
      chapter(
        "Visitors",
        "Tokens that are among the five likeliest in some row in the middle and not among the twenty likeliest at the end: one that comes at many positions is perhaps a direction with another use.",
        list,
        often
          ? `The most frequent one here is ${tokenById(reading, often.id).shown}, at ${percent(often.share)} of the positions.`
          : "There is none in this text.",
      ),
    );
    chapters.replaceChildren(...parts);
    drawGrid();
  }

  /** Where in the text the probe finds the token, and where it does not. */
  function drawGrid() {
    const recovered = done?.answer.recovered;
    if (!done || !recovered) return grid.show(null, stage.theme());
    const [{ taps }, n] = [done.answer, done.reading.n_tokens];
    const of = (row: number) => Array.from(recovered.subarray(row * n, (row + 1) * n));
    grid.show(
      {
        rows: taps.toReversed(),
        columns: done.reading.tokens.map(({ shown }) => shown),
        // 1 where the token itself is nearest, −1 where a hundred and more are nearer.
        values: taps
          .map((_, row) => of(row).map((rank) => (rank >= 1 ? 1 - Math.log10(rank) : NaN)))
          .toReversed()
          .flat(),
        limit: 1,
        print: (value) => integer(10 ** (1 - value)),
      },
      stage.theme(),
    );
  }

  /** A cell of the grid. */
  function recoveredWords({ row, column }: GridCell) {
    const recovered = done?.answer.recovered;
    if (!done || !recovered) return "";
    const [{ taps }, n] = [done.answer, done.reading.n_tokens];
    const tap = taps.length - 1 - row;
    const rank = recovered[tap * n + column];
    const place = rank >= 1 ? `is the ${ordinal(rank)} nearest to what the probe makes of the row` : "has no rank here";
    return `${taps[tap]}, position ${column}: ${done.reading.tokens[column].shown} ${place}`;
  }

  function table() {
    const head = ["row", "measure", "mean", "low", "high", "positions"];
    if (!done) return { head, lines: [] };
    const { reading, answer, probe } = done;
    const { steps } = answer;
    const columns: [string, ReturnType<typeof means>][] = [
      ["kl_input", means(reading.stats.kl_input)],
      ["kl_final", means(reading.stats.kl_final)],
      ["kl_alone", means(answer.alone)],
      ["kl_alone_control", means(answer.control)],
      ["input_on_top", means(reading.stats.rank_input.map((rank) => Number(rank === 1)))],
      ...(answer.recovered
        ? [
            ["recovered", means(answer.recovered.map((rank) => Number(rank === 1)))] as [
              string,
              ReturnType<typeof means>,
            ],
          ]
        : []),
      ...covariatesOf(done).map(({ key, values }): [string, ReturnType<typeof means>] => [`spearman_${key}`, values]),
      ["step", steps.step],
      ["cosine_with_before", steps.with_before],
      ["cosine_with_final", steps.with_final],
    ];
    const lines = columns.flatMap(([name, rows]) =>
      rows.map(({ mean, low, high, n }, row) => [answer.taps[row], name, mean, low, high, n] as (string | number)[]),
    );
    const of_probe = Object.entries(probe?.card.held_out ?? {}).flatMap(([tap, { r2, recovered }]) => [
      [tap, "held_out_r2", r2 ?? NaN, NaN, NaN, probe?.card.n_held_out ?? 0] as (string | number)[],
      [tap, "held_out_recovered", recovered ?? NaN, NaN, NaN, probe?.card.n_held_out ?? 0] as (string | number)[],
    ]);
    return { head, lines: [...lines, ...of_probe] };
  }

  /** The probes that are open. */
  function offer() {
    const names = store.probes.peek().map(({ name }) => name);
    const before = probe_choice.select.value;
    replaceOptions(probe_choice.select, names.length === 0 ? [["", "none yet"]] : names.map((name) => [name, name]));
    // The newest one, unless one was chosen.
    if (!names.includes(before)) probe_choice.select.value = names.at(-1) ?? "";
  }

  draw();
  return {
    element: figure.element,
    offer,
    redraw: draw,
    run,
    done: () => done,
    /** Another text, or another model. */
    forget() {
      figure.reset();
      done = null;
      draw();
    },
  };
}
