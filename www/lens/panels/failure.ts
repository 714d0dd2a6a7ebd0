/** A text that cannot be read, or no model at all: said where the picture would be, with the ways out. */
import { byId } from "../../ui/dom.ts";
import { adviceOn } from "../../lib/problems.ts";
import { setState, showProblem } from "./stage.ts";

export function createFailure(page: {
  /** 0 while there is no model */
  nCtx: () => number;
  /** opens once more what did not open */
  again: () => void;
  /** takes the picture away */
  clear: () => void;
  /** what the model in use has and lacks, if it is only a part of one */
  part: () => string | null;
  atlas: () => void;
  /** goes there */
  bundled: () => void;
  /** starts the engine again on the CPU */
  cpu: () => void;
}): (code: string, message: string, loading: boolean) => void {
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
    const cpu = { label: "Compute on the CPU", onClick: page.cpu };
    const actions = [...(advice.remedy === "retry" ? [retry] : []), ...(advice.is_of_gpu ? [cpu] : [])];
    showProblem(code, message, advice, actions);
  }
  return show;
}
