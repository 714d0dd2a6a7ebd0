// @ts-check
/** "The same in Python": a script for Hugging Face transformers that prints the numbers of the present picture. Pure. */

/** @typedef {import("./reading.js").PlainReading} PlainReading */

/** What each view is, given `logits`, `logp` of a row, those of final and input (F, I), and the ids. @type {Record<string, string>} */
const VALUES = {
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

/** How each family calls its parts: names of attention and final norm, and how a block runs under a causal mask. */
const FAMILIES = /** @type {Record<string, { attn: string, norm: string, run: string }>} */ ({
  gpt2: { attn: "block.attn", norm: "core.ln_f", run: "first(block(x[None], attention_mask=mask))[0]" },
  gpt_neo: { attn: "block.attn", norm: "core.ln_f", run: "first(block(x[None], attention_mask=mask))[0]" },
  ctrl: { attn: "block.multi_head_attention", norm: "core.layernorm", run: "first(block(x[None], torch.triu(torch.ones(T, T), 1)))[0]" },
});

const HALVES = /** @type {Record<string, [string, string]>} */ ({
  gpt2: ["x + first(block.attn(block.ln_1(x)[None], attention_mask=mask))[0]", "x + block.mlp(block.ln_2(x))"],
  gpt_neo: ["x + first(block.attn(block.ln_1(x)[None], attention_mask=mask))[0]", "x + block.mlp(block.ln_2(x))"],
  ctrl: ["x + first(block.multi_head_attention(*[block.layernorm1(x)[None]] * 3, torch.triu(torch.ones(T, T), 1)))[0]", "x + block.ffn(block.layernorm2(x))"],
});

const NORMS = {
  affine: "norm(x)",
  plain: "torch.nn.functional.layer_norm(x, x.shape[-1:], eps=norm.eps)",
  none: "x",
};

/** One part of the model, run on a stream. @param {string} part @param {string} family */
function stepOf(part, family) {
  const [, block, half] = part.split(".");
  const run = half === "attn" ? HALVES[family][0] : half === "mlp" ? HALVES[family][1] : FAMILIES[family].run;
  return `    block = blocks[${Number(block)}]\n    x = ${run}\n`;
}

/**
 * @param {PlainReading} reading @param {string} view its name @param {number[]} group the tracked token
 * @param {{ family: string, source: string }} model where transformers finds it
 */
export function pythonOf(reading, view, group, { family, source }) {
  const { asked, taps } = reading;
  const { attn, norm } = FAMILIES[family] ?? FAMILIES.gpt2;
  const text = reading.tokens.map(({ text }) => text).join("");
  const ids = reading.tokens.map(({ id }) => id);
  return `# ${view}, as Loupe shows it: rows are the lens, columns the positions.
# pip install torch transformers
import torch
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained(${JSON.stringify(source)}, attn_implementation="eager").double().eval()
torch.set_default_dtype(torch.float64)
text = ${JSON.stringify(text)}
ids = torch.tensor(${JSON.stringify(ids)})  # the tokens of the text
T = len(ids)
core = model.transformer
blocks, norm = core.h, ${norm}
first = lambda out: out[0] if isinstance(out, tuple) else out
mask = torch.zeros(T, T).masked_fill(torch.ones(T, T).triu(1).bool(), torch.finfo(torch.float64).min)[None, None]

# The residual stream: into block 0, then after each half of each block.
stream, added, start = {}, {}, {}
for i, block in enumerate(blocks):
    def before(_, args, kwargs, i=i):
        start[i] = (args[0] if args else kwargs["hidden_states"])[0]
    def half(_, args, out, i=i):
        added[f"h.{i}.attn_out"] = first(out)[0]
        stream[f"h.{i}.attn"] = start[i] + first(out)[0]
    def after(_, args, out, i=i):
        stream[f"h.{i}"] = first(out)[0]
        added[f"h.{i}.mlp_out"] = stream[f"h.{i}"] - stream[f"h.{i}.attn"]
    block.register_forward_pre_hook(before, with_kwargs=True)
    ${attn}.register_forward_hook(half)
    block.register_forward_hook(after)
with torch.no_grad():
    model(ids[None])
stream["input"] = start[0]
streams = dict(stream)

@torch.no_grad()
def lens(x):
${asked.decoder.map((part) => stepOf(part, family)).join("")}    x = ${NORMS[asked.norm]}
    return model.lm_head(x)

def kl(p, q):
    return (p.exp() * (p - q)).sum(-1)

def rank(logits, token):  # 1 is best; a tie goes to the lower id
    z = logits.gather(-1, token)
    lower = torch.arange(logits.shape[-1]) < token
    return 1.0 + ((logits > z) | ((logits == z) & lower)).sum(-1)

group = ${JSON.stringify(group)}
names = ${JSON.stringify(taps)}
source = {**streams, **added}
all_logits = [lens(source[name]) for name in names]
F, I = all_logits[-1].log_softmax(-1), all_logits[0].log_softmax(-1)
top = all_logits[-1].argmax(-1, keepdim=True)
below = None
for name, logits in zip(names, all_logits):
    logp = logits.log_softmax(-1)
    value = ${VALUES[view]}
    below = logp
    print(f"{name:>12}", " ".join(f"{v:9.4g}" for v in value.tolist()))
`;
}
