/** A text that cannot be read, or no model at all: said where the picture would be, with the ways out. */
import { byId } from "../../ui/dom.ts";
import { integer } from "../../lib/format.ts";
import { codeOf } from "../../engine/errors.ts";
import { adviceOn } from "../../lib/problems.ts";
import { setState, showProblem } from "./stage.ts";
import type { Engine } from "../../engine/client.ts";

export function createFailure(page: {
  engine: () => Engine;
  text: () => string;
  /** 0 while there is no model */
  nCtx: () => number;
  /** opens once more what did not open */
  again: () => void;
  setText: (text: string, ids: Uint32Array) => void;
  /** takes the picture away */
  clear: () => void;
  /** what the model in use has and lacks, if it is only a part of one */
  part: () => string | null;
  atlas: () => void;
  /** goes there */
  bundled: () => void;
}): (code: string, message: string, loading: boolean) => void {
  /** Says how long a text is that does not fit, in the place where it stands for one that does. */
  async function sayLength(text: string) {
    const n_tokens = await page
      .engine()
      .count(text)
      .catch(() => null);
    if (n_tokens !== null && text === page.text()) {
      byId("status").textContent = `${integer(n_tokens)} tokens, ${page.nCtx()} fit · nothing leaves this page`;
    }
  }

  /** The two ways out of a text that is too long. */
  function keepActions() {
    const text = page.text();
    return (["first", "last"] as const).map((which) => ({
      label: `Keep the ${which} ${page.nCtx()} tokens`,
      onClick: async () => {
        try {
          const kept = await page.engine().keep(text, page.nCtx(), which);
          byId("text").focus();
          page.setText(kept.text, kept.ids);
        } catch (error) {
          show(codeOf(error), (error as Error).message, false);
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

  /** @param words what the file has and lacks */
  function showPart(words: string) {
    page.clear();
    setState("ready");
    byId("status").textContent = "nothing leaves this page";
    const advice = { title: "This file is a partial model", quiet: true };
    showProblem("missing-tensor", words, advice, partActions());
  }

  function show(code: string, message: string, loading: boolean) {
    const part = page.part();
    if (part !== null && !loading) return showPart(part);
    const advice = adviceOn(code, loading);
    page.clear();
    setState(advice.quiet ? "ready" : "error");
    byId("status").textContent = page.nCtx() > 0 ? `up to ${page.nCtx()} tokens · nothing leaves this page` : "";
    const retry = { label: "Try again", onClick: page.again };
    showProblem(
      code,
      message,
      advice,
      advice.remedy === "retry" ? [retry] : advice.remedy === "keep" ? keepActions() : [],
    );
    if (code === "too-long") void sayLength(page.text());
  }
  return show;
}
