/** The model in use: its chip in the header, and the facts about it in the panel. */
import { byId, element } from "../ui/dom.ts";
import { bytes, integer, millions } from "../lib/format.ts";
import { isOnCpu } from "./device-choice.ts";
import type { Facts, ModelInUse } from "../lib/model.ts";

const adapterName = (adapter: Facts) =>
  [adapter.description || adapter.device, adapter.vendor, adapter.architecture]
    .filter(Boolean)
    .slice(0, 2)
    .join(" · ") + (adapter.fallback ? " (software, slow)" : "");

/** What a partial model has that the atlas can show. */
export function partWords({ has_wte, has_wpe, n_norms }: Facts) {
  const parts = [
    has_wte && "wte",
    has_wpe && "wpe",
    n_norms && (n_norms === 1 ? "one LayerNorm" : "LayerNorms"),
  ].filter(Boolean);
  return parts.length === 0
    ? "nothing that the atlas knows"
    : parts.length === 1
      ? String(parts[0])
      : `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`;
}

/** The view of the atlas that shows most of a partial model. */
export const viewOfPart = ({ has_wte, has_wpe, n_norms }: Facts) =>
  Number(n_norms) > 0 && has_wpe === true ? "gains" : has_wte === true ? "matrix" : "channels";

/** Why a partial model cannot read a text. */
export function lackWords(model: Facts) {
  const lacks = ["wte", "wpe"].filter((name) => model[`has_${name}`] !== true);
  return `It has ${partWords(model)}${lacks.length > 0 ? `, and no ${lacks.join(" and no ")}` : ""}; attention and MLP are not loaded for a partial model. A text can be read with a whole model: config.json, tokenizer.json and all weights.`;
}

const describe = (model: Facts): Record<string, string> =>
  model.partial === true
    ? {
        architecture: `partial model: ${partWords(model)}; n_embd ${model.n_embd}`,
        ...(model.n_ctx ? { positions: integer(Number(model.n_ctx)) } : {}),
        ...(model.vocab_size ? { vocabulary: `${integer(Number(model.vocab_size))} tokens` } : {}),
        LayerNorms: String(model.n_norms),
      }
    : {
        architecture: `${model.family}: ${model.n_layer} blocks, ${model.n_head} heads, n_embd ${model.n_embd}`,
        context: `${integer(Number(model.n_ctx))} tokens`,
        vocabulary: `${integer(Number(model.vocab_size))} tokens`,
        ...(model.has_tokenizer === false ? { tokenizer: "none; texts are token ids separated by spaces" } : {}),
        parameters: integer(Number(model.parameters)),
      };

export function showFacts({ model, adapter, in_use }: ModelInUse) {
  byId("model-chip").textContent =
    model.partial === true
      ? `${in_use.name} · ${partWords(model)} only`
      : `${in_use.name} · ${millions(Number(model.parameters))} · ${model.precision}${isOnCpu(adapter) ? " · CPU" : ""}`;
  byId("model-chip").title = isOnCpu(adapter) ? "Models. This one runs on the CPU." : "Models";
  const facts = {
    model: in_use.name,
    ...describe(model),
    "2-D weights": `stored as ${model.precision}`,
    memory: `${bytes(Number(model.gpu_bytes))} for the weights`,
    "computed on": isOnCpu(adapter) ? "the CPU" : adapterName(adapter) || "a GPU that the browser does not name",
  };
  byId("model-facts").replaceChildren(
    ...Object.entries(facts).map(([name, value]) =>
      element("div", "", element("dt", "", name), element("dd", "", value)),
    ),
  );
  byId<HTMLTextAreaElement>("text").placeholder =
    model.has_tokenizer === false
      ? "Type token ids, such as 464 3290 318."
      : "Type a text; the model reads it as you type.";
  const is_bundled = in_use.source.kind === "bundled";
  byId("model-about").hidden = !is_bundled;
  byId("note").hidden = !is_bundled;
}
