"""Makes the golden files of comparisons of two readings, as make.py and families.py do the rest.

    python tests/golden/compare.py

Each case runs the model of another case over two lists of ids and compares their rows by transformers in float64.
tests/golden/compare/{case}.safetensors holds

    {precision}/{rows}/{decoder}/{norm}/{kl, kl_reverse, js}   [N, columns] float32, from float64

and the metadata the ids, the pairs of positions, and how far transformers itself is off in float32.
"""

import json

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    CTRLConfig, CTRLLMHeadModel, GPT2Config, GPT2LMHeadModel, GPTNeoConfig, GPTNeoForCausalLM, PreTrainedTokenizerFast,
)

from families import Halves, rows_of
from make import HERE, TALES, is_half

FAMILIES = {
    "gpt2": (GPT2Config, GPT2LMHeadModel),
    "gpt_neo": (GPTNeoConfig, GPTNeoForCausalLM),
    "ctrl": (CTRLConfig, CTRLLMHeadModel),
}


def divergences(a, b):
    """Shapes: logits [N, columns, V] -> [N, columns] each."""
    a, b = a.log_softmax(-1), b.log_softmax(-1)
    mean = torch.logaddexp(a, b) - torch.log(torch.tensor(2.0, dtype=a.dtype))
    kl = lambda p, q: (p.exp() * (p - q)).sum(-1)
    return {"kl": kl(a, b), "kl_reverse": kl(b, a), "js": (kl(a, mean) + kl(b, mean)) / 2}


def case(name, folder, texts, columns, precisions, views):
    fields = json.loads((folder / "config.json").read_text())
    config_of, model_of = FAMILIES[fields["model_type"]]
    config = config_of(**fields)
    config._attn_implementation = "eager"
    state = load_file(folder / "model.safetensors")
    if not any(key.startswith("transformer.") for key in state):
        state = {k if k.startswith("lm_head") else f"transformer.{k}": v for k, v in state.items()}
    state = {k: v.float() for k, v in state.items() if v.is_floating_point() and not k.endswith("masked_bias")}
    if isinstance(texts[0], str):
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        texts = [tokenizer(text)["input_ids"] for text in texts]
    i, j = (list(side) for side in zip(*columns))
    values, off = {}, {}
    for precision in precisions:
        is_matrix = lambda k: is_half(k) and "layernorm" not in k
        rounded = {k: v.half().float() if precision == "f16" and is_matrix(k) else v for k, v in state.items()}
        for rows, decoder, norm in views:
            found = []
            for dtype in [torch.float64, torch.float32]:
                model = model_of(config)
                missing, unexpected = model.load_state_dict(rounded, strict=False)
                assert not unexpected, unexpected
                model.tie_weights()
                model = model.to(dtype).eval()
                a, b = (rows_of(Halves(model, ids), config.num_hidden_layers, rows, decoder, norm)[1] for ids in texts)
                found.append(divergences(a[:, i], b[:, j]))
            key = f"{precision}/{rows}/{'+'.join(decoder) or 'none'}/{norm}"
            exact, rough = found
            for stat, value in exact.items():
                values[f"{key}/{stat}"] = value.to(torch.float32)
            off[key] = {stat: (value - rough[stat].double()).abs().max().item() for stat, value in exact.items()}
    out = HERE / "compare"
    out.mkdir(exist_ok=True)
    info = dict(ids=texts[0], other=texts[1], columns=columns, precisions=precisions, off=off)
    save_file({k: v.contiguous() for k, v in values.items()}, out / f"{name}.safetensors", {"info": json.dumps(info)})
    print(name, {k: tuple(v.shape) for k, v in list(values.items())[:1]}, off)


def main():
    plain = [("blocks", [], norm) for norm in ["affine", "plain", "none"]]
    # An insertion: columns behind it are one further to the right in the second text.
    texts = ["Once upon a time there was a little girl.", "Once upon a time there was a very little boy."]
    case("tales", TALES, texts, [[0, 0], [3, 3], [6, 6], [7, 8], [8, 9], [9, 10]], ["f16"], plain)
    count = lambda n, step, v: [t * step % v for t in range(n)]
    # More pairs than one group, a massive activation, positions in any order and twice.
    columns = [[t, t] for t in range(60)] + [[69, 0], [0, 69], [5, 5], [5, 6]]
    case("massive", HERE / "massive", [count(70, 7, 101), count(70, 11, 101)], columns, ["f32", "f16"], plain[:1])
    # Several chunks of the vocabulary, texts of different lengths.
    case("tall", HERE / "tall", [count(5, 1001, 8209), count(3, 77, 8209)], [[0, 0], [4, 2]], ["f32"], plain[:1])
    views = [("contributions", [], "affine"), ("halves", ["h.2"], "affine"), ("blocks", ["h.2.mlp"], "affine")]
    case("gpt2_halves", HERE / "gpt2_halves", [count(9, 5, 53), count(9, 3, 53)], [[t, t] for t in range(9)], ["f32"], views)
    # A norm and biases of the logits of its own.
    case("ctrl", HERE / "ctrl", [count(11, 5, 61), count(7, 9, 61)], [[t, t] for t in range(7)], ["f32"], views[:2])


if __name__ == "__main__":
    main()
