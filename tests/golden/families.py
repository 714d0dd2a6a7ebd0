"""Makes the golden files of the other families, of half-blocks and of extended decoders, as make.py does the rest.

    python tests/golden/families.py

Each case is a small random model of a family, run by Hugging Face transformers in float64. Its blocks are taken apart
into their halves, x + attn(ln_1 x) and x + mlp(ln_2 x), with the masks that transformers itself makes; put together
again they must give the model's own logits. Keys are

    {precision}/{rows}/{decoder}/{norm}/{statistic}

where rows is blocks, halves or contributions and decoder the parts that belong to it, joined by "+", or "none". The
names of the rows stand in the metadata ("rows"), with what make.py puts there.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    CTRLConfig, CTRLLMHeadModel, GPT2Config, GPT2LMHeadModel, GPTNeoConfig, GPTNeoForCausalLM,
)

from make import HERE, K, NORMS, is_half, statistics


class Halves:
    """A model of some family as a list of halves, with its norm and unembedding."""

    def __init__(self, model, ids):
        body = model.transformer
        calls = []
        def note(module, args, kwargs):
            tensors = [v for v in [*args[1:], *kwargs.values()] if torch.is_tensor(v) and v.dim() == 4]
            calls.append((args[0], tensors[0] if tensors else None))
        hooks = [block.register_forward_pre_hook(note, with_kwargs=True) for block in body.h]
        with torch.no_grad():
            self.own = model(torch.tensor([ids])).logits[0]
        for hook in hooks:
            hook.remove()
        self.input = calls[0][0]
        self.norm = getattr(body, "ln_f", None) or body.layernorm
        self.head = model.lm_head
        self.halves = {}
        for i, (block, (_, mask)) in enumerate(zip(body.h, calls)):
            self.halves[f"h.{i}.attn"], self.halves[f"h.{i}.mlp"] = split(block, mask)

    def run(self, names, x):
        with torch.no_grad():
            for name in names:
                x = self.halves[name](x)
        return x

    def unembed(self, x, norm):
        with torch.no_grad():
            if norm == "affine":
                x = self.norm(x)
            elif norm == "plain":
                x = torch.nn.functional.layer_norm(x, x.shape[-1:], eps=self.norm.eps)
            return self.head(x)[0]


def split(block, mask):
    if hasattr(block, "multi_head_attention"):
        def attn(x):
            normed = block.layernorm1(x)
            return x + block.multi_head_attention(normed, normed, normed, attention_mask=mask)[0]
        return attn, lambda x: x + block.ffn(block.layernorm2(x))
    return (
        lambda x: x + block.attn(block.ln_1(x), attention_mask=mask)[0],
        lambda x: x + block.mlp(block.ln_2(x)),
    )


def expand(part):
    return [part] if part.count(".") == 2 else [f"{part}.attn", f"{part}.mlp"]


def rows_of(model, n_layer, rows, decoder, norm):
    """Names of the rows by depth, and their logits. Shapes: [N, T, V]."""
    borrowed = [half for part in decoder for half in expand(part)]
    stream = {"input": model.input}
    x = model.input
    for half in model.halves:
        x = model.run([half], x)
        stream[half if half.endswith("attn") else half.removesuffix(".mlp")] = x
    names = list(stream)
    if rows == "contributions":
        out = {"input": stream["input"]}
        for before, name in zip(names, names[1:]):
            part = f"{name}_out" if name.endswith("attn") else f"{name}.mlp_out"
            out[part] = stream[name] - stream[before]
        out[names[-1]] = stream[names[-1]]
        stream = out
    elif rows == "blocks":
        stream = {name: x for name, x in stream.items() if not name.endswith("attn")}
    # A row is left out if its name equals a named part, contains it or lies inside it.
    related = lambda a, b: a == b or a.startswith(b + ".") or b.startswith(a + ".")
    stream = {name: x for name, x in stream.items() if not any(related(name, part) for part in decoder)}
    logits = [model.unembed(model.run(borrowed, x), norm) for x in stream.values()]
    return list(stream), torch.stack(logits)


def case(name, make, config, n_tokens, precisions, views, track):
    torch.manual_seed(len(name) * 1000 + n_tokens)
    model = make(config)
    state = {}
    for key, value in model.state_dict().items():
        if key == "lm_head.weight" or not value.is_floating_point():
            continue
        noise = torch.randn_like(value)
        if "ln_" in key or "layernorm" in key:
            value = (1.0 if key.endswith("weight") else 0.0) + 0.7 * noise
        elif key.endswith("bias"):
            value = 0.3 * noise
        elif "wte" in key or key == "transformer.w.weight":
            value = 0.5 * noise
        else:
            value = noise / value.shape[-1] ** 0.5
        state[key] = value
    ids = torch.randint(0, config.vocab_size, (n_tokens,)).tolist()
    values, off, rows_by_view = {}, {}, {}
    for precision in precisions:
        is_matrix = lambda k: is_half(k) and "layernorm" not in k
        rounded = {k: v.half().float() if precision == "f16" and is_matrix(k) else v for k, v in state.items()}
        built = []
        for dtype in [torch.float64, torch.float32]:
            model = make(config)
            missing, unexpected = model.load_state_dict(rounded, strict=False)
            assert not unexpected, unexpected
            model.tie_weights()
            built.append(Halves(model.to(dtype).eval(), ids))
        wide, narrow = built
        for rows, decoder in views if precision == "f32" else views[:1]:
            for norm in NORMS if (rows, decoder) == ("blocks", []) else ["affine"]:
                view = f"{rows}/{'+'.join(decoder) or 'none'}"
                names, logits = rows_of(wide, len(wide.halves) // 2, rows, decoder, norm)
                if norm == "affine" and decoder != ["h.0"]:
                    completes = not (rows == "blocks" and decoder and decoder[-1].count(".") == 2)
                    same = torch.allclose(logits[-1], wide.own, atol=1e-6)
                    assert same == completes, f"{name} {view}: is the last row the model?"
                _, rough = rows_of(narrow, len(wide.halves) // 2, rows, decoder, norm)
                exact, rough = statistics(logits, ids, track), statistics(rough, ids, track)
                key = f"{precision}/{view}/{norm}"
                rows_by_view[view] = names
                for stat, value in exact.items():
                    whole = not value.is_floating_point()
                    values[f"{key}/{stat}"] = value.to(torch.int32 if whole else torch.float32)
                off[key] = {
                    stat: (value - rough[stat].double()).nan_to_num().abs().max().item()
                    for stat, value in exact.items()
                    if value.is_floating_point()
                }
    out = HERE / name
    out.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in state.items()}, out / "model.safetensors")
    (out / "config.json").write_text(json.dumps(fields_of(config), indent=2) + "\n")
    info = dict(text=None, ids=ids, track=track, k=K, precisions=precisions, off=off, rows=rows_by_view)
    metadata = {"info": json.dumps(info)}
    save_file({k: v.contiguous() for k, v in values.items()}, out / "expected.safetensors", metadata)
    print(name, len(values), "arrays")


def fields_of(config):
    """What transformers writes of it that says how the model computes."""
    fields = json.loads(config.to_json_string(use_diff=False))
    keep = [
        "model_type", "activation_function", "n_layer", "num_layers", "n_head", "num_heads", "n_embd", "hidden_size",
        "n_inner", "intermediate_size", "dff", "n_positions", "max_position_embeddings", "vocab_size",
        "layer_norm_epsilon", "attention_types", "window_size", "tie_word_embeddings",
    ]
    return {key: fields[key] for key in keep if key in fields}


def main():
    decoders = [[], ["h.2"], ["h.1", "h.2"], ["h.2.mlp"], ["h.2.attn"]]
    views = [("blocks", d) for d in decoders] + [("halves", d) for d in [[], ["h.2"], ["h.2.mlp"]]]
    views.append(("contributions", []))
    ids = dict(bos_token_id=0, eos_token_id=0)
    gpt2 = GPT2Config(
        n_head=3, n_embd=21, n_layer=3, vocab_size=53, n_positions=70, attn_implementation="eager", **ids
    )
    case("gpt2_halves", GPT2LMHeadModel, gpt2, 67, ["f32"], views, [5])
    neo = GPTNeoConfig(
        hidden_size=21, num_layers=3, num_heads=3, intermediate_size=50, vocab_size=53, max_position_embeddings=70,
        attention_types=[[["global", "local"], 1], [["local"], 1]], window_size=3, attn_implementation="eager", **ids,
    )
    case("neo", GPTNeoForCausalLM, neo, 67, ["f32", "f16"], views, [5])
    ctrl = CTRLConfig(n_embd=30, n_layer=3, n_head=6, dff=44, vocab_size=61, n_positions=16, **ids)
    case("ctrl", CTRLLMHeadModel, ctrl, 11, ["f32", "f16"], views, [5])


if __name__ == "__main__":
    main()
