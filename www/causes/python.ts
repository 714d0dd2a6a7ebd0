/** "The same in Python" of an edited run: a script for Hugging Face transformers with forward hooks. Pure. */
import { valuesCode } from "../export/python.ts";
import type { EditedRun } from "../reading/edits.ts";
import type { PlainReading } from "../reading/reading.ts";

/** The norms of a block, its output projection of attention, and its MLP; the last norm. */
const PARTS = {
  gpt2: { block: "block.ln_1, block.ln_2, block.attn.c_proj, block.mlp", norm: "core.ln_f", embed: "core.wte" },
  gpt_neo: {
    block: "block.ln_1, block.ln_2, block.attn.attention.out_proj, block.mlp",
    norm: "core.ln_f",
    embed: "core.wte",
  },
  ctrl: {
    block: "block.layernorm1, block.layernorm2, block.multi_head_attention.dense, block.ffn",
    norm: "core.layernorm",
    embed: "core.w",
  },
} as Record<string, { block: string; norm: string; embed: string }>;

const NORMS = {
  affine: 'norms["ln_f"](x)',
  plain: 'torch.nn.functional.layer_norm(x, x.shape[-1:], eps=norms["ln_f"].eps) * final_gain',
  none: "x",
};

const idsOf = (reading: PlainReading | null) =>
  reading ? `torch.tensor(${JSON.stringify(reading.tokens.map(({ id }) => id))})` : "None";

/**
 * @param run what is edited, and in which text
 * @param view whose values are printed, by its name
 * @param model where transformers finds it
 */
export function editedPythonOf(
  run: EditedRun,
  { a, b }: { a: PlainReading | null; b: PlainReading | null },
  view: string,
  { family, source }: { family: string; source: string },
) {
  const edited = run.of === "a" ? a : b;
  const { asked, taps } = edited ?? { asked: { norm: "affine" as const }, taps: [] };
  const { block, norm, embed } = PARTS[family] ?? PARTS.gpt2;
  return `# ${view} of a run with edits, as Loupe shows it: rows are the lens, columns the positions.
# pip install torch transformers
import torch
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained(${JSON.stringify(source)}, attn_implementation="eager").double().eval()
torch.set_default_dtype(torch.float64)
core, n_head = model.transformer, model.config.num_attention_heads
texts = {"a": ${idsOf(a)}, "b": ${idsOf(b)}}
edited_text = ${JSON.stringify(run.of)}
edits = ${JSON.stringify(run.edits)}
names = ${JSON.stringify(taps)}

# A tap is what a norm reads, a contribution what the projection of attention or the MLP returns.
norms, taps, contributions, tap = {"ln_f": ${norm}}, {}, {}, "input"
for i, block in enumerate(core.h):
    first, second, projection, mlp = ${block}
    norms[f"h.{i}.ln_1"], norms[f"h.{i}.ln_2"] = first, second
    taps[tap], taps[f"h.{i}.attn"] = first, second
    contributions[f"h.{i}.attn_out"], contributions[f"h.{i}.mlp_out"] = projection, mlp
    tap = f"h.{i}"
taps[tap] = norms["ln_f"]

def heads(projection, z):
    """What each head adds: the projection of its channels alone, without the bias."""
    width, found = z.shape[-1] // n_head, []
    for head in range(n_head):
        alone, channels = torch.zeros_like(z), slice(head * width, (head + 1) * width)
        alone[..., channels] = z[..., channels]
        found.append((projection.forward(alone) - projection.forward(torch.zeros_like(z)))[0])
    return found

def vector(edit, rows, runs):
    """What is added."""
    add, place = edit["add"], ".".join(edit["at"].split(".")[:2])
    if "plus" in add:
        plus, minus = (runs[add[which]["text"]][place][add[which]["position"]] for which in ["plus", "minus"])
        return plus - minus
    e, (token, *others) = model.lm_head.weight, add["tokens"]
    u = (e[token] - (e[others[0]] if others else e.mean(0))) * norms["ln_f"].weight
    u = u - u.mean()
    # As long as the stream is on average where it is added.
    return u / u.norm() * runs[edited_text][place][rows].norm(dim=-1).mean()

def replacement(edit, rows, runs):
    """What takes the place of an activation."""
    key = lambda name: (name, edit["head"]) if "head" in edit else name
    if "from" in edit:
        source = edit["from"]
        return runs[source["text"]][key(source.get("at", edit["at"]))][source.get("positions", rows)]
    if edit["to"] == "zero":
        return torch.zeros(len(rows), model.lm_head.weight.shape[1])
    return runs[edit["to"]["mean"]][key(edit["at"])].mean(0)

@torch.no_grad()
def run(ids, edits=(), runs=None):
    """Every tap and contribution by name, as edited; what head h adds stands under (name, h). [T, C] each"""
    at, hooks = {}, []

    def edited(name, value, parts=()):
        value = value.clone()
        for edit in edits:
            if edit.get("at") != name:
                continue
            rows = edit.get("positions", list(range(len(ids))))
            if "add" in edit:
                value[rows] += edit["scale"] * vector(edit, rows, runs)
            elif "head" in edit:
                new = replacement(edit, rows, runs)
                value[rows] += new - parts[edit["head"]][rows]
                parts[edit["head"]][rows] = new
            else:
                value[rows] = replacement(edit, rows, runs)
        at[name] = value
        for head, part in enumerate(parts):
            at[name, head] = part
        return value

    def before_norm(name):
        def hook(module, args):  # in place: the residual connection reads the same tensor
            args[0][0] = edited(name, args[0][0])
        return hook

    def after(name, is_attention):
        def hook(module, args, out):
            parts = heads(module, args[0]) if is_attention else ()
            return edited(name, out[0], parts)[None]
        return hook

    for name, norm in taps.items():
        hooks.append(norm.register_forward_pre_hook(before_norm(name)))
    for name, module in contributions.items():
        hooks.append(module.register_forward_hook(after(name, name.endswith("attn_out"))))
    model(ids[None])
    for hook in hooks:
        hook.remove()
    return at

final_gain = torch.ones(model.lm_head.weight.shape[1])

@torch.no_grad()
def decode(x):
    return model.lm_head(${NORMS[asked.norm]})
${valuesCode(view, [])}
ids = texts[edited_text]
runs = {text: run(tokens) for text, tokens in texts.items() if tokens is not None}
unedited = values(ids, [decode(runs[edited_text][name]) for name in names])

# From here on with other weights.
for edit in edits:
    if "weights" not in edit:
        continue
    what = edit["weights"]
    gain = torch.ones_like(final_gain)
    gain[edit.get("channel", slice(None))] = edit.get("scale", 1.0)
    if "smooth" in edit:
        table, channel = core.wpe.weight.data, edit.get("channel", slice(None))
        p = torch.arange(len(table)).double()
        g = torch.exp(-((p[:, None] - p) ** 2) / (2 * edit["smooth"] ** 2))
        table[:, channel] = (g @ table / g.sum(1, keepdim=True))[:, channel]
    elif what == "wpe":
        core.wpe.weight.data *= gain
    elif what == "embed":
        ${embed}.register_forward_hook(lambda module, args, out, gain=gain: out * gain)
    elif what == "unembed":
        model.lm_head.register_forward_pre_hook(lambda module, args, gain=gain: (args[0] * gain,))
    else:
        norms[what].register_forward_hook(lambda module, args, out, gain=gain: out * gain)
        if what == "ln_f":
            final_gain *= gain

at = run(ids, edits, runs)
found = values(ids, [decode(at[name]) for name in names])
for title, rows in [("without edits", unedited), ("with edits", found)]:
    print(title)
    for name, value in zip(names, rows):
        print(f"{name:>12}", " ".join(f"{v:9.4g}" for v in value.tolist()))
`;
}
