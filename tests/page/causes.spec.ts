/** The tab of causes: edits by link, pointer and keys against the engine's own API, attribution, sweeps, surgery. */
import { readFileSync } from "node:fs";
import { expectAccessible } from "./axe.ts";
import { expect, test, waitForState } from "./site.ts";
import type { Page } from "@playwright/test";

const A = "The princess sat down and began to weep, for";
const B = "The prince sat down and began to weep, for";
const LAST = 10;
/** Three heads that carry the pronoun, from A into B. */
const HEADS = [
  { at: "h.2.attn_out", head: 3, from: { text: "a" } },
  { at: "h.5.attn_out", head: 4, from: { text: "a" } },
  { at: "h.6.attn_out", head: 4, from: { text: "a" } },
];

const address = (
  site: string,
  { a = A, b = B, edits = [], of = "b" }: { a?: string; b?: string | null; edits?: object[]; of?: string } = {},
) =>
  `${site}#tab=causes&text=${encodeURIComponent(a)}${b === null ? "" : `&second=${encodeURIComponent(b)}`}${
    edits.length > 0 ? `&edits=${encodeURIComponent(JSON.stringify({ of, edits }))}` : ""
  }`;

async function open(page: Page, to: string, { waits = true } = {}) {
  await page.goto(to);
  await waitForState(page, "ready");
  if (waits)
    await page.waitForFunction(() => (window as any).loupePage.causes()?.pictures.picture("a").shown() !== null);
}

const ran = (page: Page) => page.waitForFunction(() => (window as any).loupePage.causes()?.ran() !== null);
const edits = (page: Page) =>
  page.evaluate(() => {
    const { edits } = (window as any).loupePage.state();
    return edits === "" ? null : JSON.parse(edits);
  });
const editsAre = async (page: Page, expected: object | null) => {
  await expect.poll(() => edits(page)).toEqual(expected);
};

/** The middle of a cell of a picture, on the page; −1 for a row's name. */
async function middleOf(page: Page, which: string, tap: number, position: number) {
  const canvas = page.locator(`canvas[data-which="${which}"]`);
  await canvas.scrollIntoViewIfNeeded();
  const { x, y, width, height } = await page.evaluate(
    ([which, tap, position]) => (window as any).loupePage.causes().pictures.picture(which).cellRect(tap, position),
    [which, tap, Math.max(0, position)] as const,
  );
  const box = await canvas.boundingBox();
  if (!box) throw new Error("the canvas is not in sight");
  return { x: box.x + (position < 0 ? 20 : x + width / 2), y: box.y + y + height / 2 };
}

async function drag(page: Page, from: [string, number, number], to: [string, number, number]) {
  // Both in sight.
  await page.locator(`canvas[data-which="${to[0]}"]`).scrollIntoViewIfNeeded();
  const end = await middleOf(page, ...to);
  const start = await middleOf(page, ...from);
  const again = await page.locator(`canvas[data-which="${to[0]}"]`).boundingBox();
  expect(again).not.toBeNull();
  await page.mouse.move(start.x, start.y);
  await page.mouse.down();
  await page.mouse.move(start.x + 20, start.y + 20);
  const now = await middleOfNow(page, ...to);
  expect(Math.abs(now.x - end.x)).toBeLessThan(2);
  await page.mouse.move(now.x, now.y, { steps: 4 });
  await expect(page.locator(".drag-ghost")).toBeVisible();
  await page.mouse.up();
  await expect(page.locator(".drag-ghost")).toHaveCount(0);
}

/** The same without scrolling. */
async function middleOfNow(page: Page, which: string, tap: number, position: number) {
  return page.evaluate(
    ([which, tap, position]) => {
      const rect = (window as any).loupePage.causes().pictures.picture(which).cellRect(tap, Math.max(0, position));
      const box = document.querySelector(`canvas[data-which="${which}"]`)?.getBoundingClientRect() as DOMRect;
      return { x: box.x + (position < 0 ? 20 : rect.x + rect.width / 2), y: box.y + rect.y + rect.height / 2 };
    },
    [which, tap, position] as const,
  );
}

/** What the engine says by its API, in an engine of its own. */
async function api<T>(page: Page, site: string, work: string): Promise<T> {
  // An expression, because the page's policy allows no code that is made there.
  return page.evaluate<T>(`(async () => {
    const engine = await import("${site}loupe/loupe.js");
    await engine.default();
    const loupe = await engine.Loupe.open();
    const file = (name) => fetch("${site}models/tales/" + name);
    await loupe.load({
      config: await (await file("config.json")).text(),
      tokenizer: await (await file("tokenizer.json")).text(),
      weights: (await file("model.safetensors")).body,
    });
    const [a, b] = [await loupe.read(${JSON.stringify(A)}), await loupe.read(${JSON.stringify(B)})];
    const id = (text) => loupe.encode(text)[0];
    ${work}
  })()`);
}

test("an edited run by link is the API's, says what can change and what cannot, and leaves as JSON and Python", async ({
  page,
  site,
}) => {
  await open(page, address(site, { edits: HEADS }));
  await ran(page);
  const shown = await page.evaluate(() => {
    const { edited, base } = (window as any).loupePage.causes().ran();
    const stats = (of: any) =>
      Object.fromEntries(Object.entries(of.stats).map(([name, values]) => [name, [...(values as any)]]));
    return { edited: stats(edited), base: stats(base) };
  });
  const expected = await api<Record<string, number[]>>(
    page,
    site,
    `const edited = await loupe.read(${JSON.stringify(B)}, { edits: ${JSON.stringify(HEADS)}.map(({ from, ...rest }) => ({ ...rest, from: { reading: a } })) });
     return Object.fromEntries(["kl_final", "entropy", "logit_final", "rank_next"].map((name) => [name, [...edited.stat(name)]]));`,
  );
  for (const [name, values] of Object.entries(expected)) expect(shown.edited[name], name).toEqual(values);
  expect(shown.edited.entropy).not.toEqual(shown.base.entropy);
  await expect(page.locator(".causes-check")).toHaveText(
    /^Checked: 33 cells outside the outline, all of them the same bits/,
  );
  await page.getByRole("button", { name: "Check that nothing else changes" }).click();
  await expect(page.locator(".causes-check")).toContainText("all 99 cells keep their bits");
  await expect(page.locator("#edited")).toBeVisible();
  await expect(page.locator(".history li")).toHaveText(/␣he → ␣she 16\.9 %/);
  // The change of the picture is the difference of the two runs, with the token held fixed.
  await page.locator(".causes-main select[aria-label=View]").selectOption("kl_final");
  const change = await page.evaluate(() => {
    const { ran, pictures } = (window as any).loupePage.causes();
    const { base, edited } = ran();
    const { values } = pictures.picture("edited").shown();
    return [...values].map((value: number, i: number) => [value, edited.stats.kl_final[i] - base.stats.kl_final[i]]);
  });
  for (const [value, difference] of change) expect(value).toBeCloseTo(difference, 5);
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.locator('.causes-exports [data-export="json"]').click(),
  ]);
  const json = JSON.parse(readFileSync(await download.path(), "utf8"));
  expect(json.edits).toEqual({ of: "b", edits: HEADS });
  expect(json.is_edited).toBe(true);
  expect(json.edited.stats.entropy).toEqual(shown.edited.entropy);
  await page.locator('.causes-exports [data-export="python"]').click();
  await expect(page.locator("#python-code")).toContainText(
    'edits = [{"at":"h.2.attn_out","head":3,"from":{"text":"a"}}',
  );
  await expect(page.locator("#python-code")).toContainText("register_forward_pre_hook");
  await page.locator("#python-close").click();
  await expectAccessible(page, "an edited run");
});

test("cells, rows and keys make edits; undo, Back and the history lead back", async ({ page, site }) => {
  await open(page, address(site));
  await page.setViewportSize({ width: 1440, height: 1800 });
  // A cell of A, row h.3, onto the same place of B, then onto another position.
  await drag(page, ["a", 4, 1], ["b", 4, 1]);
  const first = { at: "h.3", positions: [1], from: { text: "a" } };
  await editsAre(page, { of: "b", edits: [first] });
  await ran(page);
  await drag(page, ["a", 4, 1], ["edited", 6, 3]);
  const second = { at: "h.5", positions: [3], from: { text: "a", at: "h.3", positions: [1] } };
  await editsAre(page, { of: "b", edits: [first, second] });
  // The name of a row: all of it.
  await drag(page, ["a", 2, -1], ["b", 2, -1]);
  await editsAre(page, { of: "b", edits: [first, second, { at: "h.1", from: { text: "a" } }] });
  await page.getByRole("button", { name: "Undo" }).click();
  await editsAre(page, { of: "b", edits: [first, second] });
  await page.goBack();
  await editsAre(page, { of: "b", edits: [first, second, { at: "h.1", from: { text: "a" } }] });
  await page.locator(".history-go").last().click();
  await editsAre(page, { of: "b", edits: [first] });
  // Differences from another state.
  await page
    .locator(".history li")
    .first()
    .getByRole("button", { name: /^compare/ })
    .click();
  await page.waitForFunction(() => {
    const { against, base } = (window as any).loupePage.causes().ran();
    return against !== base;
  });
  // By keys: x on a cell of A.
  await page.locator(".causes-edits").getByRole("button", { name: "Remove all" }).click();
  await editsAre(page, null);
  await page.locator('canvas[data-which="a"]').focus();
  await page.keyboard.press("End");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("x");
  await editsAre(page, { of: "b", edits: [{ at: "h.6", positions: [LAST], from: { text: "a" } }] });
  await page.keyboard.press("Shift+X");
  await expect.poll(async () => (await edits(page)).edits.length).toBe(2);
  // What stands in the list goes by its button, and the form adds what dragging cannot.
  await page.locator(".edit-item button").last().click();
  await page.locator(".edit-details summary").click();
  const form = page.locator(".edit-form");
  await form.locator("[name=kind]").selectOption("tokens");
  await form.locator("[name=tap]").selectOption("h.7");
  await form.locator("[name=plus]").fill(" sea");
  await form.locator("[name=positions]").fill("8-10");
  await form.locator("[name=scale]").fill("2");
  await form.getByRole("button", { name: "Add edit" }).click();
  await expect(page.locator(".edit-words").last()).toHaveText("h.7, positions 8-10 + 2 · (␣sea − mean token)");
  const sea = (await edits(page)).edits.at(-1).add.tokens[0];
  await page.waitForFunction(() => (window as any).loupePage.causes().ran()?.run.edits.length === 2);
  const probability = await page.evaluate((sea) => {
    const { edited, base } = (window as any).loupePage.causes().ran();
    const at = (of: any) => {
      const cell = of.taps.length * of.n_tokens - 1;
      const k = [...of.top_ids.slice(cell * of.top_k, (cell + 1) * of.top_k)].indexOf(sea);
      return k < 0 ? 0 : Math.exp(of.top_logits[cell * of.top_k + k] - of.stats.logsumexp[cell]);
    };
    return [at(base), at(edited)];
  }, sea);
  expect(probability[1]).toBeGreaterThan(probability[0] + 0.01);
  // A wrong field says what to type, and adds nothing.
  await form.locator("[name=positions]").fill("a-b");
  await form.getByRole("button", { name: "Add edit" }).click();
  await expect(form.locator(".bad")).toHaveText("positions: expected numbers such as 3, 5-7, got “a-b”.");
});

test("a cell's components sum to what is shown, lead to where heads read, and offer to be ablated", async ({
  page,
  site,
}) => {
  await open(page, address(site));
  // The answer of text A is the cell at first: she against he.
  await expect(page.getByRole("heading", { name: "What adds to ␣she − ␣he" })).toBeVisible();
  await expect(page.locator(".proof").first()).toHaveText(/^The components sum to .*: a difference of /);
  const answer = await page.evaluate(() => (window as any).loupePage.causes().attribution.answer());
  const expected = await api<any>(
    page,
    site,
    `const cell = { tap: "h.7", position: ${LAST}, tokens: [id(" she"), id(" he")] };
     const found = await a.attribute(cell);
     const head = { ...cell, block: 5 };
     return { found, sources: [...await a.sources({ ...head, head: 4 })], neurons: [...await a.neurons(head)], promoted: [...(await a.promoted({ tap: "h.7", position: ${LAST}, component: "h.5.attn.4", k: 8 })).promoted.ids].map((id) => loupe.token(id).shown) };`,
  );
  expect(answer.components).toEqual(expected.found.components);
  expect(Math.abs(answer.sum - answer.shown)).toBeLessThan(1e-4);
  // A step of the waterfall is chosen by keys, and its strongest head is shown.
  await page.locator('.step[data-key="h.5.attn"]').focus();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "h.5.attn.4", exact: true })).toBeVisible();
  await expect(page.locator(".promoted-list").first().locator(".token")).toHaveText(expected.promoted);
  const numbers = page.locator(".arcs text[font-size='11']");
  await expect(numbers).toHaveCount(LAST + 1);
  expect(Number((await numbers.nth(1).textContent())?.replace("−", "-"))).toBeCloseTo(expected.sources[1], 1);
  // A head is dragged from the grid onto a cell of the other text.
  await page.setViewportSize({ width: 1440, height: 2400 });
  const rect = await page.evaluate(() =>
    (window as any).loupePage.causes().attribution.grid.rectOf({ row: 2, column: 4 }),
  );
  const grid = await page.locator('canvas[aria-label^="What each head"]').boundingBox();
  const to = await middleOfNow(page, "b", 6, 3);
  await page.mouse.move((grid?.x ?? 0) + rect.x + 4, (grid?.y ?? 0) + rect.y + 4);
  await page.mouse.down();
  await page.mouse.move(to.x, to.y, { steps: 5 });
  await expect(page.locator(".drag-ghost")).toHaveText("h.5.attn_out head 4 of text A → position 3 of text B");
  await page.mouse.up();
  await editsAre(page, { of: "b", edits: [{ at: "h.5.attn_out", head: 4, positions: [3], from: { text: "a" } }] });
  await page.locator(".causes-edits").getByRole("button", { name: "Remove all" }).click();
  await editsAre(page, null);
  // An MLP has units instead.
  await page.locator('.step[data-key="h.5.mlp"]').click();
  const strongest = expected.neurons
    .map((value: number, unit: number) => ({ value, unit }))
    .sort((a: any, b: any) => Math.abs(b.value) - Math.abs(a.value))[0];
  await expect(page.locator(".units .token").first()).toHaveText(`#${strongest.unit}`);
  await page.getByRole("button", { name: "Ablate it: zero" }).click();
  await editsAre(page, { of: "a", edits: [{ at: "h.5.mlp_out", to: "zero" }] });
  // Attention itself, on the switch.
  await page.locator('.step[data-key="h.5.attn"]').click();
  await page.locator(".segment", { hasText: "attention" }).click();
  await expect(page.locator(".arcs text[font-size='11']").first()).toHaveText(/%$/);
  // Other tokens: one against the mean.
  const fields = page.locator(".token-fields input");
  await fields.first().fill("no such");
  await fields.first().blur();
  await expect(page.locator(".causes-cell .bad")).toContainText("type one, with its leading space");
  await fields.first().fill(" sea");
  await fields.first().blur();
  await expect(page.getByRole("heading", { name: /What adds to ␣sea − / })).toBeVisible();
  await expectAccessible(page, "attribution");
});

test("a sweep is the API's; a cell opens as an edit; texts of different length are refused", async ({ page, site }) => {
  await open(page, address(site));
  await expect(page.getByRole("heading", { name: "What adds to ␣she − ␣he" })).toBeVisible();
  await page.getByRole("button", { name: "Run the sweep" }).click();
  await page.waitForFunction(() => (window as any).loupePage.causes().sweep.done() !== null);
  const found = await page.evaluate(() => [...(window as any).loupePage.causes().sweep.done().answer.values]);
  const expected = await api<number[]>(
    page,
    site,
    `return [...(await loupe.sweep({ clean: a, corrupt: b, what: "stream", metric: { plus: id(" she"), minus: id(" he") } })).values];`,
  );
  expect(found).toEqual(expected);
  // The row of input, at the word that differs, is the lowest one.
  const grid = page.locator('canvas[aria-label^="Sweep"]');
  const rect = await page.evaluate(() => (window as any).loupePage.causes().sweep.grid.rectOf({ row: 7, column: 1 }));
  await grid.click({ position: { x: rect.x + rect.width / 2, y: rect.y + rect.height / 2 } });
  await editsAre(page, { of: "b", edits: [{ at: "input", positions: [1], from: { text: "a" } }] });
  await page.waitForFunction(() => (window as any).loupePage.causes().ran()?.run.edits.length === 1);
  // Which is text A then.
  const same = await page.evaluate(() => {
    const { edited } = (window as any).loupePage.causes().ran();
    const a = (window as any).loupePage.causes().pictures.picture("a").reading();
    return Math.max(
      ...[...edited.stats.entropy].map((value: number, i: number) => Math.abs(value - a.stats.entropy[i])),
    );
  });
  expect(same).toBeLessThan(1e-4);
  const repeats = page.getByRole("region", { name: "Heads that repeat what came before" });
  await repeats.getByRole("button", { name: "Measure" }).click();
  await page.waitForFunction(() => (window as any).loupePage.causes().sweep.scores() !== null);
  const scores = await page.evaluate(() => [...(window as any).loupePage.causes().sweep.scores().induction]);
  // Heads of the last block look for what came before.
  expect(Math.max(...scores.slice(42))).toBeGreaterThan(0.5);
  expect(Math.max(...scores.slice(0, 36))).toBeLessThan(0.2);
  await page.locator("#second").fill(`${B} the`);
  await page.waitForFunction(() => (window as any).loupePage.second().comparison?.second.n_tokens === 12);
  await page.getByRole("button", { name: "Run the sweep" }).click();
  await expect(page.locator(".card-trouble", { hasText: "of the same length" })).toContainText(
    "A has 11 tokens and B 12",
  );
});

test("sets of tokens are the API's, and the classes are all of the vocabulary", async ({ page, site }) => {
  await open(page, address(site, { b: null }));
  const card = page.getByRole("region", { name: "Sets of tokens" });
  await card.getByLabel("Regular expression").fill("^ (she|he)$");
  await card.getByRole("button", { name: "Add set" }).click();
  await page.waitForFunction(() => (window as any).loupePage.causes().sets.done() !== null);
  const found = await page.evaluate(() => {
    const { sets, n_classes, scores } = (window as any).loupePage.causes().sets.done();
    return {
      ids: [...sets.at(-1).ids],
      prob: [...scores.at(-1).prob],
      rank: [...scores.at(-1).rank],
      sums: [...scores[0].prob].map((_, at) =>
        scores.slice(0, n_classes).reduce((sum: number, { prob }: any) => sum + prob[at], 0),
      ),
      n_tokens: sets.slice(0, n_classes).reduce((sum: number, { ids }: any) => sum + ids.length, 0),
    };
  });
  const expected = await api<any>(
    page,
    site,
    `const ids = [id(" she"), id(" he")].sort((a, b) => a - b);
     const reading = await loupe.read(${JSON.stringify(A)}, { track: ids });
     const [she, he] = ids.map((each) => reading.tracked(each));
     return { ids, prob: [...she.logprob].map((p, i) => Math.exp(p) + Math.exp(he.logprob[i])), rank: [...she.rank].map((rank, i) => Math.min(rank, he.rank[i])) };`,
  );
  expect(found.ids).toEqual(expected.ids);
  expect(found.rank).toEqual(expected.rank);
  found.prob.forEach((prob, i) => expect(prob).toBeCloseTo(expected.prob[i], 5));
  expect(found.n_tokens).toBe(4096);
  for (const sum of found.sums) expect(Math.abs(sum - 1)).toBeLessThan(1e-6);
  await expect(card.locator(".set-chips li")).toContainText("2 tokens");
  await card.getByLabel("Regular expression").fill("(");
  await card.getByRole("button", { name: "Add set" }).click();
  await expect(card.locator(".bad")).toContainText("The expression: Invalid regular expression");
  await expect(card.locator(".set-chips li")).toHaveCount(1);
  await expectAccessible(page, "sets");
});

test("the true next token in the memory is the API's, with its control", async ({ page, site }) => {
  await open(page, address(site, { b: null }));
  const card = page.getByRole("region", { name: "The true next token in the memory" });
  await card.getByRole("button", { name: "Measure" }).click();
  await page.waitForFunction(() => (window as any).loupePage.causes().memory.done() !== null);
  const found = await page.evaluate(() => {
    const { own, runs } = (window as any).loupePage.causes().memory.done().answer;
    const one = runs.find(({ first, alpha }: any) => first === 5 && alpha === 0.5);
    return { own: [...own], truth: [...one.truth], control: [...one.control], n: runs.length };
  });
  const expected = await api<any>(
    page,
    site,
    `const T = a.n_tokens, last = (a.taps.length - 1) * T;
     return { truth: [...await a.memory({ first: 5, alpha: 0.5 })], own: [...a.stat("logprob_next").slice(last, last + T - 1)] };`,
  );
  expect(found.n).toBe(8 * 4);
  expect(found.truth).toEqual(expected.truth);
  found.own.forEach((p, i) => expect(p).toBeCloseTo(expected.own[i], 4));
  expect(found.control).not.toEqual(found.truth);
  await expect(card.locator(".card-body p").first()).toHaveText(
    /^Text A, mean change of −log p\(true next\) in nats\./,
  );
});

test("edits that do not fit the texts, or cannot be read, are said and kept", async ({ page, site }) => {
  const late = [{ at: "h.3", positions: [LAST], from: { text: "a" } }];
  await open(page, address(site, { edits: late }));
  await ran(page);
  await page.locator("#second").fill("The prince sat");
  await expect(page.locator(".card-trouble", { hasText: "position" })).toContainText("expected");
  await editsAre(page, { of: "b", edits: late });
  await page.locator("#second").fill(B);
  await ran(page);
  await expect(page.locator(".card-trouble:visible")).toHaveCount(0);
  // Without the edited text there is no run; the edits stay.
  await page.getByRole("button", { name: "Close the second text" }).click();
  await expect(page.locator(".card-trouble", { hasText: "text B, which is not there" })).toBeVisible();
  await editsAre(page, { of: "b", edits: late });
  await page.goto(`${site}#tab=causes&edits=${encodeURIComponent('{"of":"b","edits":[{"at":"<img>"}]}')}`);
  await waitForState(page, "ready");
  await expect(page.locator(".card-trouble", { hasText: "could not be read" })).toBeVisible();
  await page.getByRole("button", { name: "Remove them" }).click();
  await editsAre(page, null);
  // A head that the model lacks.
  await page.goto(address(site, { edits: [{ at: "h.0.attn_out", head: 99, to: "zero" }], of: "a" }));
  await waitForState(page, "ready");
  await expect(page.locator(".card-trouble", { hasText: "head" })).toContainText("0 to 5");
});

test("a worked example says what this model shows; a channel is turned in the atlas", async ({ page, site }) => {
  await open(page, `${site}#tab=causes`);
  await page.getByRole("button", { name: "she or he" }).click();
  await expect(page.locator(".causes-examples .finding")).toHaveText(
    "Without edits the text goes on with ␣he (21.2 %), with them with ␣she (16.9 %), where ␣he has 6.6 %.",
  );
  expect(await edits(page)).toEqual({ of: "b", edits: HEADS });
  await page.goBack();
  await expect(page.locator("#text")).not.toHaveValue(A);
  await page.goto(`${site}#atlas=channel&channel=5&text=${encodeURIComponent(A)}`);
  await waitForState(page, "ready");
  const surgery = page.getByRole("region", { name: "Change channel 5" });
  await surgery.locator("input[type=range]").fill("0");
  await expect(surgery.locator(".surgery-loss")).toHaveText(
    /^Loss of the lens’ text: [\d.]+ → [\d.]+ nats, [+−][\d.]+ \(95 % interval [−\d.]+ to [−\d.]+, 10 predictions\)\.$/,
  );
  const weights = Array.from({ length: 8 }, (_, i) => ({ weights: `h.${i}.ln_2`, channel: 5, scale: 0 }));
  expect(await edits(page)).toEqual({ of: "a", edits: weights });
  await expect(page.locator("#edited")).toBeVisible();
  await surgery.getByRole("button", { name: "Show the edited run" }).click();
  await ran(page);
  await expect(page.locator(".edit-item")).toHaveCount(8);
  await page.goBack();
  await surgery.getByRole("button", { name: "Undo" }).click();
  await editsAre(page, null);
  await expect(page.locator("#edited")).toBeHidden();
});

for (const [width, height] of [
  [1440, 900],
  [1366, 650],
  [390, 844],
] as const)
  test(`nothing sticks out at ${width} × ${height}`, async ({ page, site }) => {
    await page.setViewportSize({ width, height });
    await open(page, address(site, { edits: HEADS }));
    await ran(page);
    await expect(page.getByRole("heading", { name: "What heads read" })).toBeVisible();
    const beyond = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    expect(beyond).toBeLessThanOrEqual(0);
    // Each colour stands above its number.
    const [bar, ticks] = await Promise.all(
      [".bar", ".ticks"].map((part) => page.locator(`.causes-legend ${part}`).first().boundingBox()),
    );
    expect(Math.abs((bar?.width ?? 0) - (ticks?.width ?? -9))).toBeLessThanOrEqual(2);
  });
