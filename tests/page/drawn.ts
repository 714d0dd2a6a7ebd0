/** What the page draws, beside what the API says to the same question. */
import { expect, waitForState } from "./site.ts";
import type { Page } from "@playwright/test";

/** Reads the page's text once more, through the embeddable module alone, and gives back plain values. */
export const readByApi = (page: Page, options: Record<string, any>, traced: number[] = []) =>
  page.evaluate(
    async ({ options, traced }) => {
      const scope = window as any;
      if (!scope.testLoupe) {
        const { default: init, Loupe } = await import(new URL("loupe/loupe.js", document.baseURI).href);
        await init();
        // On what the page computes on, so that the numbers have the same bits.
        scope.testLoupe = await Loupe.open({ device: localStorage.getItem("loupe:device") ?? "auto" });
        const get = (name: string) => fetch(`models/tales/${name}`);
        await scope.testLoupe.load({
          config: await (await get("config.json")).text(),
          tokenizer: await (await get("tokenizer.json")).text(),
          weights: (await get("model.safetensors")).body,
        });
      }
      const text = (document.getElementById("text") as HTMLTextAreaElement).value;
      const reading = await scope.testLoupe.read(text, { top_k: 20, ...options });
      const names = [
        "logsumexp",
        "entropy",
        "logit_final",
        "prob_final",
        "rank_final",
        "logprob_input",
        "rank_input",
        "logprob_next",
        "rank_next",
        "kl_final",
        "kl_final_reverse",
        "kl_input",
        "kl_input_reverse",
      ];
      const track = ({ id, logit, logprob, rank }: any) => ({
        id,
        logit: [...logit],
        logprob: [...logprob],
        rank: [...rank],
      });
      const plain = {
        taps: [...reading.taps],
        n_tokens: reading.n_tokens,
        final_is_model: reading.final_is_model,
        top_ids: [...reading.top_ids],
        top_logits: [...reading.top_logits],
        stats: Object.fromEntries(names.map((name) => [name, [...reading.stat(name)]])),
        tracked: (options.track ?? []).map((id: number) => track(reading.tracked(id))),
        column: traced.length > 0 ? (await reading.trace(traced, { position: reading.n_tokens - 1 })).map(track) : [],
      };
      reading.free();
      return plain;
    },
    { options, traced },
  );

/** What the picture is drawn from. */
export const shownByPage = (page: Page) =>
  page.evaluate(() => {
    const { rows, values, reading, span, view, scale } = (window as any).loupePage.shown();
    return {
      rows,
      span,
      taps: [...reading.taps],
      values: [...values],
      name: view.name,
      final_is_model: reading.final_is_model,
      top_ids: [...reading.top_ids],
      ends: [scale.ticks[0].label, scale.ticks[scale.ticks.length - 1].label],
    };
  });

export function expectSame(actual: number[], expected: number[], what: string) {
  expect(actual.length, what).toBe(expected.length);
  const bad = actual.findIndex(
    (value, i) => !Object.is(value, Math.fround(expected[i])) && !(Number.isNaN(value) && Number.isNaN(expected[i])),
  );
  expect(bad, `${what}: ${actual[bad]} for ${expected[bad]}`).toBe(-1);
}

/** Chooses a view, by its button or in the menu. */
export async function chooseView(page: Page, name: string) {
  const segment = page.locator(`[data-view="${name}"]`);
  if ((await segment.count()) > 0) await segment.click();
  else await page.locator("#more-views").selectOption(name);
  await page.waitForFunction((wanted) => {
    const { shown } = (window as any).loupePage;
    return (
      document.documentElement.dataset.state === "ready" &&
      shown().view.name === wanted &&
      shown().values.some((value: number) => !Number.isNaN(value))
    );
  }, name);
}

/** Sets a switch, and waits for what it asks the engine for. */
export async function setSwitch(page: Page, name: string, value: string | boolean) {
  if (!(await page.locator("#switches").isVisible())) await page.locator("#switches-toggle").click();
  const field = page.locator(`#switches [name="${name}"]`);
  if (typeof value === "boolean") await field.setChecked(value);
  else if ((await field.evaluate((element) => element.tagName)) === "SELECT") await field.selectOption(value);
  else await field.fill(value);
  await waitForState(page, "ready");
}
