// @ts-check
/** A text that cannot be read, or no model at all: said where the picture would be, with the ways out. */
import { byId } from "./dom.js";
import { integer } from "./format.js";
import { codeOf } from "./outcome.js";
import { adviceOn } from "./problems.js";
import { setState, showProblem } from "./stage.js";

/**
 * @param {object} page
 * @param {() => import("./engine.js").Engine} page.engine
 * @param {() => string} page.text
 * @param {() => number} page.n_ctx 0 while there is no model
 * @param {() => void} page.again opens once more what did not open
 * @param {(text: string, ids: Uint32Array) => void} page.setText
 * @param {() => void} page.clear takes the picture away
 * @param {() => void} page.remember
 * @param {() => string | null} page.part what the model in use has and lacks, if it is only a part of one
 * @param {() => void} page.atlas @param {() => void} page.bundled goes there
 * @returns {(code: string, message: string, loading: boolean) => void}
 */
export function createFailure(page) {
  /** Says how long a text is that does not fit, in the place where it stands for one that does. @param {string} text */
  async function sayLength(text) {
    const n_tokens = await page.engine().count(text).catch(() => null);
    if (n_tokens !== null && text === page.text()) {
      byId("status").textContent = `${integer(n_tokens)} tokens, ${page.n_ctx()} fit · nothing leaves this page`;
    }
  }

  /** The two ways out of a text that is too long. */
  function keepActions() {
    const text = page.text();
    return /** @type {const} */ (["first", "last"]).map((which) => ({
      label: `Keep the ${which} ${page.n_ctx()} tokens`,
      onClick: async () => {
        try {
          const kept = await page.engine().keep(text, page.n_ctx(), which);
          byId("text").focus();
          page.setText(kept.text, kept.ids);
        } catch (error) {
          show(codeOf(error), /** @type {Error} */ (error).message, false);
        }
      },
    }));
  }

  /** The actions for a partial model, which cannot read. */
  const partActions = () => [
    { label: "Open the atlas", onClick: page.atlas },
    { label: "Models", onClick: () => byId("model-chip").click() },
    { label: "Back to Tales", onClick: page.bundled },
  ];

  /** @param {string} words what the file has and lacks */
  function showPart(words) {
    page.clear();
    setState("ready");
    byId("status").textContent = "nothing leaves this page";
    const advice = { title: "This file is a partial model", quiet: true };
    showProblem("missing-tensor", words, advice, partActions());
  }

  /** @param {string} code @param {string} message @param {boolean} loading */
  function show(code, message, loading) {
    const part = page.part();
    if (part !== null && !loading) return showPart(part);
    const advice = adviceOn(code, loading);
    page.clear();
    setState(advice.quiet ? "ready" : "error");
    byId("status").textContent = page.n_ctx() > 0 ? `up to ${page.n_ctx()} tokens · nothing leaves this page` : "";
    const retry = { label: "Try again", onClick: page.again };
    showProblem(code, message, advice, advice.remedy === "retry" ? [retry] : advice.remedy === "keep" ? keepActions() : []);
    if (code === "too-long") void sayLength(page.text());
    if (!loading) page.remember();
  }
  return show;
}
