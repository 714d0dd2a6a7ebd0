"""Makes the golden files of tests/golden: what Hugging Face transformers says, in float64.

Run it from the repository root, in an environment with torch, transformers and safetensors:

    python tests/golden/make.py

The Rust tests only read what it wrote; they need none of these packages. Each case holds a model
(config.json, model.safetensors; for *Tales* the bundled one) and expected.safetensors, in which

    {precision}/{norm}/{statistic}      [N, T]     float32, from float64
    {precision}/{norm}/low/{statistic}  [N, T]     rank if the target's logit were 1e-3 larger
    {precision}/{norm}/high/{statistic} [N, T]     rank if it were 1e-3 smaller
    {precision}/{norm}/top_ids          [N, T, K]
    {precision}/{norm}/top_logits       [N, T, K + 1]
    {precision}/{norm}/track/{id}/...   [N, T]     logit, logprob, rank, low, high

and the metadata says how far transformers itself is off in float32 ("off": the largest absolute
difference over the case and norm, by statistic). For precision "f16" the 2-D weights that Loupe
stores in half precision are rounded to it first.
"""

import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

HERE = Path(__file__).parent
TALES = HERE.parent.parent / "www" / "public" / "models" / "tales"
K = 5
NORMS = ["affine", "plain", "none"]


def build(config, state, dtype):
    model = GPT2LMHeadModel(config)
    model.load_state_dict(state, strict=False)
    model.tie_weights()
    return model.to(dtype).eval()


def taps(model, ids):
    """The residual stream: input of block 0, then the output of every block."""
    rows = []
    hooks = [model.transformer.h[0].register_forward_pre_hook(lambda m, a: rows.append(a[0][0]))]
    for block in model.transformer.h:
        take = lambda m, a, out: rows.append((out[0] if isinstance(out, tuple) else out)[0])
        hooks.append(block.register_forward_hook(take))
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    for hook in hooks:
        hook.remove()
    return torch.stack(rows), logits


def decode(model, rows, norm):
    ln_f = model.transformer.ln_f
    if norm == "affine":
        rows = ln_f(rows)
    elif norm == "plain":
        rows = torch.nn.functional.layer_norm(rows, rows.shape[-1:], eps=ln_f.eps)
    with torch.no_grad():
        return rows @ model.lm_head.weight.T


def rank(logits, target, shift=0.0):
    """Ties go to the lower id, and a token is never compared with itself."""
    z = logits.gather(-1, target[..., None]) + shift
    ids = torch.arange(logits.shape[-1])
    above = (logits > z) | ((logits == z) & (ids < target[..., None]))
    above &= ids != target[..., None]
    return 1 + above.sum(-1)


def statistics(logits, ids, track):
    """Every statistic of the lens. Shapes: logits [N, T, V] -> [N, T] each."""
    n_taps, n_tokens, _ = logits.shape
    logp = logits.log_softmax(-1)
    p = logp.exp()
    final, first = logp[-1], logp[0]
    everywhere = lambda row: row.expand(n_taps, n_tokens)
    top = everywhere(logits[-1].argmax(-1))
    here = everywhere(torch.tensor(ids))
    following = everywhere(torch.tensor(ids[1:] + [0]))
    pick = lambda values, target: values.gather(-1, target[..., None])[..., 0]
    kl = lambda a, b: (a.exp() * (a - b)).sum(-1)
    out = {
        "logsumexp": logits.logsumexp(-1),
        "entropy": -(p * logp).sum(-1),
        "logit_final": pick(logits, top),
        "prob_final": pick(p, top),
        "logprob_input": pick(logp, here),
        "logprob_next": pick(logp, following),
        "kl_final": kl(final.expand_as(logp), logp),
        "kl_final_reverse": kl(logp, final.expand_as(logp)),
        "kl_input": kl(first.expand_as(logp), logp),
        "kl_input_reverse": kl(logp, first.expand_as(logp)),
    }
    out["logprob_next"][:, -1] = math.nan
    targets = {"rank_final": top, "rank_input": here, "rank_next": following}
    for t in track:
        one = torch.full((n_taps, n_tokens), t)
        out[f"track/{t}/logit"] = pick(logits, one)
        out[f"track/{t}/logprob"] = pick(logp, one)
        targets[f"track/{t}/rank"] = one
    for name, target in targets.items():
        for which, shift in [("", 0.0), ("low/", 1e-3), ("high/", -1e-3)]:
            value = rank(logits, target, shift)
            if name == "rank_next":
                value[:, -1] = 0
            out[which + name] = value
    best = logits.topk(K + 1)
    out["top_ids"] = best.indices[..., :K]
    out["top_logits"] = best.values
    return out


def is_half(name):
    """The 2-D weights that Loupe stores in f16: all but the position embeddings."""
    return name.endswith("weight") and not any(s in name for s in ["wpe", "ln_"])


def expect(config, state, ids, precisions, track, out, info):
    values, off = {}, {}
    for precision in precisions:
        rounded = {
            k: (v.half().float() if precision == "f16" and is_half(k) else v)
            for k, v in state.items()
        }
        wide, narrow = build(config, rounded, torch.float64), build(config, rounded, torch.float32)
        rows, own = taps(wide, ids)
        rows32, _ = taps(narrow, ids)
        for norm in NORMS:
            logits = decode(wide, rows, norm)
            if norm == "affine":
                assert torch.allclose(logits[-1], own, atol=1e-9), "the last row is not the model"
            exact = statistics(logits, ids, track)
            rough = statistics(decode(narrow, rows32, norm).detach(), ids, track)
            key = f"{precision}/{norm}"
            for name, value in exact.items():
                whole = not value.is_floating_point()
                values[f"{key}/{name}"] = value.to(torch.int32 if whole else torch.float32)
            off[key] = {
                name: (value - rough[name].double()).nan_to_num().abs().max().item()
                for name, value in exact.items()
                if value.is_floating_point()
            }
    out.mkdir(parents=True, exist_ok=True)
    info = dict(info, ids=ids, track=track, k=K, precisions=precisions, off=off)
    metadata = {"info": json.dumps(info)}
    save_file({k: v.contiguous() for k, v in values.items()}, out / "expected.safetensors", metadata)


def random_case(name, config, n_tokens, precisions, prefix, masks, dtype, massive=None):
    """A random model whose distributions are neither flat nor one-hot."""
    torch.manual_seed(len(name) * 1000 + n_tokens)
    config = GPT2Config(**config, attn_implementation="eager", bos_token_id=0, eos_token_id=0)
    model = GPT2LMHeadModel(config)
    state = {}
    for key, value in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        noise = torch.randn_like(value)
        if "ln_" in key:
            value = (1.0 if key.endswith("weight") else 0.0) + 0.7 * noise
        elif key.endswith("bias"):
            value = 0.3 * noise
        elif "wte" in key or "lm_head" in key:
            value = 0.5 * noise
        else:
            value = noise / value.shape[0] ** 0.5
        state[key] = value.to(dtype).float()
    if massive:
        state["transformer.h.0.mlp.c_proj.bias"][massive] = 300.0
    ids = torch.randint(0, config.vocab_size, (n_tokens,)).tolist()
    out = HERE / name
    out.mkdir(parents=True, exist_ok=True)
    stored = {k if prefix else k.removeprefix("transformer."): v.to(dtype) for k, v in state.items()}
    if masks:
        n = config.n_positions
        for i in range(config.n_layer):
            p = f"{'transformer.' if prefix else ''}h.{i}.attn"
            stored[f"{p}.bias"] = torch.tril(torch.ones(n, n, dtype=torch.uint8)).view(1, 1, n, n)
            stored[f"{p}.masked_bias"] = torch.tensor(-1e4)
    save_file({k: v.contiguous() for k, v in stored.items()}, out / "model.safetensors")
    fields = json.loads(config.to_json_string(use_diff=False))
    keep = [
        "model_type", "activation_function", "n_layer", "n_head", "n_embd", "n_inner",
        "n_positions", "vocab_size", "layer_norm_epsilon", "tie_word_embeddings",
        "scale_attn_weights", "scale_attn_by_inverse_layer_idx",
    ]
    (out / "config.json").write_text(json.dumps({k: fields[k] for k in keep}, indent=2) + "\n")
    track = [0, config.vocab_size - 1]
    expect(config, state, ids, precisions, track, out, {"text": None})


def tales_case(name, text):
    fields = json.loads((TALES / "config.json").read_text())
    config = GPT2Config(**fields, attn_implementation="eager")
    state = {f"transformer.{k}": v.float() for k, v in load_file(TALES / "model.safetensors").items()}
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(TALES / "tokenizer.json"))
    ids = tokenizer(text)["input_ids"]
    print(name, len(ids), "tokens")
    expect(config, state, ids, ["f16"], [11, 262], HERE / name, {"text": text})


def main():
    small = dict(n_head=5, n_embd=35, n_layer=3, vocab_size=101, n_positions=80)
    both = ["f32", "f16"]
    # Two blocks of positions, odd head size, prime V, one massive activation, masks, prefix.
    random_case("massive", small, 70, both, True, True, torch.float32, massive=17)
    # Untied head, short MLP, scaling by layer, no prefix, bfloat16.
    untied = dict(
        n_head=3, n_embd=33, n_layer=2, n_inner=50, vocab_size=97, n_positions=16,
        tie_word_embeddings=False, scale_attn_by_inverse_layer_idx=True, layer_norm_epsilon=1e-3,
    )
    random_case("untied", untied, 9, both, False, False, torch.bfloat16)
    # One token, one block, no scaling of attention, half precision.
    bare = dict(
        n_head=1, n_embd=6, n_layer=1, vocab_size=23, n_positions=8, scale_attn_weights=False
    )
    random_case("bare", bare, 1, ["f16"], True, False, torch.float16)
    # A vocabulary of several chunks and more rows than one group; two blocks of positions.
    tall = dict(n_head=2, n_embd=6, n_layer=6, n_inner=10, vocab_size=8209, n_positions=70)
    random_case("tall", tall, 66, ["f32"], False, False, torch.float16)
    tales_case("tales_story", "Once upon a time there was a little girl who lived with her mother")
    tales_case("tales_copy", "The red fox and the blue bird. " * 3 + "The red fox")
    tales_case("tales_bytes", "“Café”,\tsaid the 🦊;\n\nnaïve  ¼ ½…")


if __name__ == "__main__":
    main()
