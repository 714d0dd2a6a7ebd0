/** "The same in Python": a script for Hugging Face transformers that prints the numbers of the present picture. Pure. */
import type { Asked, PlainReading } from "../reading/reading.ts";
import type { Comparison } from "../reading/comparison.ts";

/** What each view is, given `logits`, `logp` of a row, those of final and input (F, I), and the ids. */
const VALUES: Record<string, string> = {
  logit: "logits.gather(-1, top)[:, 0]",
  probability: "logp.exp().gather(-1, top)[:, 0]",
  rank: "rank(logits, top)",
  logit_top: "logits.max(-1).values",
  kl_final: "kl(F, logp)",
  kl_final_reverse: "kl(logp, F)",
  kl_gain: "kl(F, below) - kl(F, logp) if below is not None else torch.full((T,), torch.nan)",
  kl_input: "kl(I, logp)",
  kl_input_reverse: "kl(logp, I)",
  rank_input: "rank(logits, ids[:, None])",
  loss_next: "torch.cat([-logp[:-1].gather(-1, ids[1:, None])[:, 0], torch.tensor([torch.nan])])",
  rank_next: "torch.cat([rank(logits[:-1], ids[1:, None]), torch.zeros(1)])",
  entropy: "-(logp.exp() * logp).sum(-1)",
  tracked_logit: "logits[:, group].logsumexp(-1)",
  tracked_probability: "logp[:, group].exp().sum(-1)",
  tracked_rank: "torch.stack([rank(logits, torch.full((T, 1), t)) for t in group]).min(0).values",
};

/**
 * The difference of two texts, given rows `a` and `b` of logits at the aligned positions, `logp_a` and `logp_b`, and
 * the first text's tokens `top` and `next_token`. Other views compare the values of `VALUES` at those positions.
 */
const COMPARED: Record<string, string> = {
  logit: "(b - a).gather(-1, top)[:, 0]",
  probability: "(logp_b.exp() - logp_a.exp()).gather(-1, top)[:, 0]",
  rank: "torch.log2(rank(b, top) / rank(a, top))",
  logit_top: "torch.where(a.argmax(-1) == b.argmax(-1), b.max(-1).values - a.max(-1).values, torch.nan)",
  loss_next: "torch.where(has_next, (logp_a - logp_b).gather(-1, next_token)[:, 0], torch.nan)",
  rank_next: "torch.where(has_next, torch.log2(rank(b, next_token) / rank(a, next_token)), torch.nan)",
  between_js: "(kl(logp_a, mean) + kl(logp_b, mean)) / 2",
  between_kl: "kl(logp_a, logp_b)",
  between_kl_reverse: "kl(logp_b, logp_a)",
};
/** Views whose change is a ratio. */
const RATIOS = ["rank_input", "tracked_rank"];

/** How each family calls its parts: names of attention and final norm, and how a block runs under a causal mask. */
const FAMILIES = {
  gpt2: { attn: "block.attn", norm: "core.ln_f", run: "first(block(x[None], attention_mask=mask))[0]" },
  gpt_neo: { attn: "block.attn", norm: "core.ln_f", run: "first(block(x[None], attention_mask=mask))[0]" },
  ctrl: {
    attn: "block.multi_head_attention",
    norm: "core.layernorm",
    run: "first(block(x[None], torch.triu(torch.ones(T, T), 1)))[0]",
  },
} as Record<string, { attn: string; norm: string; run: string }>;

const HALVES = {
  gpt2: ["x + first(block.attn(block.ln_1(x)[None], attention_mask=mask))[0]", "x + block.mlp(block.ln_2(x))"],
  gpt_neo: ["x + first(block.attn(block.ln_1(x)[None], attention_mask=mask))[0]", "x + block.mlp(block.ln_2(x))"],
  ctrl: [
    "x + first(block.multi_head_attention(*[block.layernorm1(x)[None]] * 3, torch.triu(torch.ones(T, T), 1)))[0]",
    "x + block.ffn(block.layernorm2(x))",
  ],
} as Record<string, [string, string]>;

const NORMS = {
  affine: "norm(x)",
  plain: "torch.nn.functional.layer_norm(x, x.shape[-1:], eps=norm.eps)",
  none: "x",
};

/** One part of the model, run on a stream. */
function stepOf(part: string, family: string) {
  const [, block, half] = part.split(".");
  const run = half === "attn" ? HALVES[family][0] : half === "mlp" ? HALVES[family][1] : FAMILIES[family].run;
  return `        block = blocks[${Number(block)}]\n        x = ${run}\n`;
}

const idsOf = (reading: PlainReading) => JSON.stringify(reading.tokens.map(({ id }) => id));
const textOf = (reading: PlainReading) => JSON.stringify(reading.tokens.map(({ text }) => text).join(""));

/** The rest of the script: the values of one text, row by row. */
const oneText = (reading: PlainReading) => `text = ${textOf(reading)}
ids = torch.tensor(${idsOf(reading)})  # the tokens of the text
for name, value in zip(names, values(ids, read(ids))):
    print(f"{name:>12}", " ".join(f"{v:9.4g}" for v in value.tolist()))
`;

/** The rest of the script: how two texts differ at the aligned positions, row by row. */
const twoTexts = ({ first, second, columns }: Comparison, view: string) => `text = ${textOf(first)}
second_text = ${textOf(second)}
ids = torch.tensor(${idsOf(first)})  # the tokens of the texts
second_ids = torch.tensor(${idsOf(second)})
# Positions of the first and the second text whose tokens are aligned.
i, j = torch.tensor(${JSON.stringify(columns)}).T
first_logits, second_logits = read(ids), read(second_ids)
${
  view in COMPARED
    ? `top = first_logits[-1][i].argmax(-1, keepdim=True)
has_next = i + 1 < len(ids)
next_token = ids[(i + 1).clamp(max=len(ids) - 1)][:, None]
print(f"{'position':>12}", " ".join(f"{p:9}" for p in i.tolist()))
for name, first_row, second_row in zip(names, first_logits, second_logits):
    a, b = first_row[i], second_row[j]
    logp_a, logp_b = a.log_softmax(-1), b.log_softmax(-1)
    mean = torch.logaddexp(logp_a, logp_b) - torch.log(torch.tensor(2.0))
    value = ${COMPARED[view]}`
    : `print(f"{'position':>12}", " ".join(f"{p:9}" for p in i.tolist()))
for name, a, b in zip(names, values(ids, first_logits), values(second_ids, second_logits)):
    value = ${RATIOS.includes(view) ? "torch.log2(b[j] / a[i])" : "b[j] - a[i]"}`
}
    print(f"{name:>12}", " ".join(f"{v:9.4g}" for v in value.tolist()))
`;

/** The functions that a view's values are made with, and `values`, which makes them of all rows' logits. */
export const valuesCode = (view: string, group: number[]) => `
def kl(p, q):
    return (p.exp() * (p - q)).sum(-1)

def rank(logits, token):  # 1 is best; a tie goes to the lower id
    z = logits.gather(-1, token)
    lower = torch.arange(logits.shape[-1]) < token
    return 1.0 + ((logits > z) | ((logits == z) & lower)).sum(-1)
${
  view in VALUES
    ? `
group = ${JSON.stringify(group)}

def values(ids, all_logits):
    """The values of every row. [T] each"""
    T, below, found = len(ids), None, []
    F, I = all_logits[-1].log_softmax(-1), all_logits[0].log_softmax(-1)
    top = all_logits[-1].argmax(-1, keepdim=True)
    for logits in all_logits:
        logp = logits.log_softmax(-1)
        found.append(${VALUES[view]})
        below = logp
    return found
`
    : ""
}`;

/** Reads the maps of a lens. */
const mapsCode = (
  name: string,
) => `# The lens ${JSON.stringify(name)}: export it in the tab Evidence, and save the file under this name.
import json
from safetensors import safe_open

with safe_open("lens.safetensors", "pt") as file:
    maps = {key: file.get_tensor(key).double() for key in file.keys()}
    is_normalised = json.loads(file.metadata()["loupe.lens"])["normalised"]
`;

/** What a map makes of a row; one that predicts the normalised stream is not normalised again. */
const mappedCode = (norm: Asked["norm"]) => `        if f"lens.{name}.weight" in maps:
            x = x @ maps[f"lens.{name}.weight"] + maps[f"lens.{name}.bias"]
            if is_normalised:
                return model.lm_head(${norm === "affine" ? "x * norm.weight + norm.bias" : "x"})
`;

/**
 * @param view its name
 * @param group the tracked token
 * @param model where transformers finds it
 * @param comparison whose first reading that is, if the picture is of two texts
 */
export function pythonOf(
  reading: PlainReading,
  view: string,
  group: number[],
  { family, source }: { family: string; source: string },
  comparison: Comparison | null = null,
) {
  const { asked, taps } = reading;
  const { attn, norm } = FAMILIES[family] ?? FAMILIES.gpt2;
  return `# ${comparison ? `${view} of two texts${view.startsWith("between") ? "" : view.includes("rank") ? ", log2 of second ÷ first" : ", second − first"}` : view}, as Loupe shows it: rows are the lens, columns the positions.
# pip install torch transformers
import torch
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained(${JSON.stringify(source)}, attn_implementation="eager").double().eval()
torch.set_default_dtype(torch.float64)
core = model.transformer
blocks, norm = core.h, ${norm}
names = ${JSON.stringify(taps)}
${asked.lens ? mapsCode(asked.lens) : ""}first = lambda out: out[0] if isinstance(out, tuple) else out

@torch.no_grad()
def read(ids):
    """The logits of every row. [T, V] each"""
    T = len(ids)
    mask = torch.zeros(T, T).masked_fill(torch.ones(T, T).triu(1).bool(), torch.finfo(torch.float64).min)[None, None]
    # The residual stream: into block 0, then after each half of each block.
    stream, added, start, hooks = {}, {}, {}, []
    for i, block in enumerate(blocks):
        def before(_, args, kwargs, i=i):
            start[i] = (args[0] if args else kwargs["hidden_states"])[0]
        def half(_, args, out, i=i):
            added[f"h.{i}.attn_out"] = first(out)[0]
            stream[f"h.{i}.attn"] = start[i] + first(out)[0]
        def after(_, args, out, i=i):
            stream[f"h.{i}"] = first(out)[0]
            added[f"h.{i}.mlp_out"] = stream[f"h.{i}"] - stream[f"h.{i}.attn"]
        hooks.append(block.register_forward_pre_hook(before, with_kwargs=True))
        hooks.append(${attn}.register_forward_hook(half))
        hooks.append(block.register_forward_hook(after))
    model(ids[None])
    for hook in hooks:
        hook.remove()
    stream["input"] = start[0]
    source = {**stream, **added}

    def lens(x${asked.lens ? ", name" : ""}):
${asked.lens ? mappedCode(asked.norm) : ""}${asked.decoder.map((part) => stepOf(part, family)).join("")}        x = ${NORMS[asked.norm]}
        return model.lm_head(x)
    return [lens(source[name]${asked.lens ? ", name" : ""}) for name in names]
${valuesCode(view, group)}
${comparison ? twoTexts(comparison, view) : oneText(reading)}`;
}
