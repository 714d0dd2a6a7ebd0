// @ts-check
/** The model in use: its chip in the header, and the facts about it in the panel. */
import { byId, element } from "./dom.js";
import { bytes, integer, millions } from "./format.js";

/** @typedef {import("./engine.js").Facts} Facts */

/** @param {Facts} adapter */
const adapterName = (adapter) =>
  [adapter.description || adapter.device, adapter.vendor, adapter.architecture].filter(Boolean).slice(0, 2).join(" · ") +
  (adapter.fallback ? " (software, slow)" : "");

/** @param {import("./engine.js").InUseFacts} facts */
export function showFacts({ model, adapter, in_use }) {
  byId("model-chip").textContent = `${in_use.name} · ${millions(Number(model.parameters))} · ${model.precision}`;
  const facts = {
    "model": in_use.name,
    "architecture": `${model.family}: ${model.n_layer} blocks, ${model.n_head} heads, n_embd ${model.n_embd}`,
    "context": `${integer(Number(model.n_ctx))} tokens`,
    "vocabulary": `${integer(Number(model.vocab_size))} tokens`,
    "parameters": integer(Number(model.parameters)),
    "2-D weights": `stored as ${model.precision}`,
    "GPU memory": bytes(Number(model.gpu_bytes)),
    "adapter": adapterName(adapter) || "not named by the browser",
  };
  byId("model-facts").replaceChildren(
    ...Object.entries(facts).map(([name, value]) => element("div", "", element("dt", "", name), element("dd", "", value))),
  );
  const is_bundled = in_use.source.kind === "bundled";
  byId("model-about").hidden = !is_bundled;
  byId("note").hidden = !is_bundled;
}

