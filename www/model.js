// @ts-check
/** The model's chip in the header, and the facts behind it. */
import { byId, element } from "./dom.js";
import { integer, megabytes, millions } from "./format.js";

/** @typedef {import("./engine.js").Facts} Facts */

/** @param {Facts} adapter */
const adapterName = (adapter) =>
  [adapter.description || adapter.device, adapter.vendor, adapter.architecture].filter(Boolean).slice(0, 2).join(" · ") +
  (adapter.fallback ? " (software, slow)" : "");

/** Closes the card on Escape and on a click elsewhere, as a menu does. */
export function closeModelCard() {
  const card = /** @type {HTMLDetailsElement} */ (byId("model"));
  document.addEventListener("keydown", (event) => event.key === "Escape" && (card.open = false));
  document.addEventListener("pointerdown", (event) => card.contains(/** @type {Node} */ (event.target)) || (card.open = false));
}

/** @param {Facts} model @param {Facts} adapter as the engine gives them */
export function showModel(model, adapter) {
  byId("model-chip").textContent = `Tales · ${millions(Number(model.parameters))} · ${model.precision}`;
  const facts = {
    "architecture": `${model.family}: ${model.n_layer} blocks, ${model.n_head} heads, n_embd ${model.n_embd}`,
    "context": `${integer(Number(model.n_ctx))} tokens`,
    "vocabulary": `${integer(Number(model.vocab_size))} tokens`,
    "parameters": integer(Number(model.parameters)),
    "2-D weights": `stored as ${model.precision}`,
    "GPU memory": megabytes(Number(model.gpu_bytes)),
    "adapter": adapterName(adapter) || "not named by the browser",
  };
  byId("model-facts").replaceChildren(
    ...Object.entries(facts).flatMap(([name, value]) => [element("dt", "", name), element("dd", "", value)]),
  );
}
