"""Makes the PyTorch files of tests/golden/torch from the golden models, with torch.save itself.

    python tests/golden/torch_files.py

Every file holds the tensors of a safetensors file beside it, in ways in which checkpoints hold them: in the zip
format and in the stream of versions before 1.6, transposed, as parts of one storage, tied, in shards, with masks and
other buffers. The tests compare them with the safetensors files bit by bit. The hostile files do what a pickle can do.
"""

import json
import os
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy
import torch
from safetensors.torch import load_file

HERE = Path(__file__).parent
OUT = HERE / "torch"


def state_of(name):
    tensors = load_file(HERE / name / "model.safetensors")
    state = OrderedDict((key, tensors[key].clone()) for key in sorted(tensors))
    state._metadata = OrderedDict([("", {"version": 1}), ("transformer", {"version": 1})])
    return state


def save(state, name, old=False):
    torch.save(state, OUT / name, _use_new_zipfile_serialization=not old)


def transposed(tensor):
    """The same matrix, stored column by column."""
    return tensor.t().contiguous().t()


def packed(state):
    """All vectors as parts of one storage, in another order than their names."""
    vectors = [name for name, tensor in reversed(state.items()) if tensor.dim() == 1]
    storage = torch.cat([torch.full((3,), 7.0).to(state[vectors[0]].dtype)] + [state[name] for name in vectors])
    at = 3
    for name in vectors:
        n = state[name].numel()
        state[name] = storage[at : at + n]
        at += n
    return state


def ctrl():
    """As a conversion from TensorFlow leaves it: Linear weights transposed, the head tied to the embedding."""
    state = state_of("ctrl")
    for name, tensor in state.items():
        if tensor.dim() == 2 and ".h." in name:
            state[name] = transposed(tensor)
    state["lm_head.weight"] = state["transformer.w.weight"]
    return state


def neo(n):
    """In shards, with bool masks and a scalar. Buffers are in the first shard."""
    state = state_of("neo")
    size = json.loads((HERE / "neo" / "config.json").read_text())["max_position_embeddings"]
    mask = torch.tril(torch.ones((size, size), dtype=torch.bool)).view(1, 1, size, size)
    buffers = OrderedDict()
    buffers["transformer.h.0.attn.attention.bias"] = mask
    buffers["transformer.h.0.attn.attention.masked_bias"] = torch.tensor(-1e9)
    buffers["transformer.position_ids"] = torch.arange(size).expand((1, -1))
    names = list(state)
    for i in range(n):
        part = OrderedDict() if i else buffers
        part.update((name, state[name]) for name in names[i::n])
        yield part


class Hostile:
    def __reduce__(self):
        return os.system, ("echo a pickle ran this",)


def rezipped(source, name, order, method):
    """The entries of a file in another order, or compressed."""
    with zipfile.ZipFile(OUT / source) as old, zipfile.ZipFile(OUT / name, "w", method) as new:
        for entry in sorted(old.namelist(), key=order):
            new.writestr(entry, old.read(entry))


def main():
    OUT.mkdir(exist_ok=True)
    save(ctrl(), "ctrl.bin", old=True)
    save(ctrl(), "ctrl_zip.bin")
    save(packed(state_of("untied")), "untied.bin")
    save(packed(state_of("untied")), "untied_old.bin", old=True)
    shards = list(neo(2))
    names = [f"neo-{i + 1:05}-of-00002.bin" for i in range(2)]
    for i, (name, part) in enumerate(zip(names, shards)):
        save(part, name, old=i == 1)
    halves = OrderedDict((name, tensor.half()) for name, tensor in state_of("bare").items())
    halves["h.0.attn.bias"] = torch.ones((1, 1, 4, 4), dtype=torch.uint8)
    save(halves, "bare_half.bin")
    save({"epoch": 3, "loss": 0.25, "state_dict": state_of("bare")}, "bare_nested.bin")
    rezipped("bare_half.bin", "bare_pickle_last.bin", lambda name: name.endswith("data.pkl"), zipfile.ZIP_STORED)
    rezipped("bare_half.bin", "bare_deflated.bin", lambda name: 0, zipfile.ZIP_DEFLATED)
    save({"weight": torch.zeros(2), "run": Hostile()}, "hostile_system.bin")
    save({"weight": torch.zeros(2), "run": Hostile()}, "hostile_system_old.bin", old=True)
    save({"weight": torch.zeros(2), "mean": numpy.float64(1)}, "hostile_numpy.bin")
    save(torch.nn.Linear(2, 2), "hostile_module.bin")


if __name__ == "__main__":
    main()
