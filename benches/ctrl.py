"""Writes a model of CTRL's full shape with torch.save, for the benchmark of shapes (6.55 GB; 14 GB of memory).

    python benches/ctrl.py FOLDER
    cargo bench --bench shape -- FOLDER 2

It is in the stream of versions before 1.6, with every Linear stored transposed and the head tied to the embedding, as
a conversion from TensorFlow leaves them. The benchmark opens FOLDER/model.safetensors; the content tells the format.
"""

import json
import sys
from collections import OrderedDict
from pathlib import Path

import torch

LAYERS, HEADS, WIDTH, INNER, VOCABULARY, POSITIONS = 48, 16, 1280, 8192, 246534, 256


def linear(state, name, n_out, n_in):
    state[f"{name}.weight"] = torch.randn((n_in, n_out)).mul_(n_in**-0.5).t()
    state[f"{name}.bias"] = torch.randn(n_out).mul_(0.02)


def norm(state, name):
    state[f"{name}.weight"] = torch.ones(WIDTH)
    state[f"{name}.bias"] = torch.zeros(WIDTH)


def main(folder):
    torch.manual_seed(1)
    state = OrderedDict()
    state["transformer.w.weight"] = torch.randn((VOCABULARY, WIDTH)).mul_(0.02)
    for i in range(LAYERS):
        block = f"transformer.h.{i}"
        for part in ["Wq", "Wk", "Wv", "dense"]:
            linear(state, f"{block}.multi_head_attention.{part}", WIDTH, WIDTH)
        linear(state, f"{block}.ffn.0", INNER, WIDTH)
        linear(state, f"{block}.ffn.2", WIDTH, INNER)
        norm(state, f"{block}.layernorm1")
        norm(state, f"{block}.layernorm2")
    norm(state, "transformer.layernorm")
    state["lm_head.weight"] = state["transformer.w.weight"]
    state["lm_head.bias"] = torch.zeros(VOCABULARY)
    config = {
        "model_type": "ctrl", "n_layer": LAYERS, "n_head": HEADS, "n_embd": WIDTH, "dff": INNER,
        "n_positions": POSITIONS, "vocab_size": VOCABULARY,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(state, folder / "model.safetensors", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
