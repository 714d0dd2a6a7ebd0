"""Times the logit lens by PyTorch on this machine, in turns with Loupe's native benchmark:

`python benches/pytorch.py MODEL TOKENS [path/to/machine]`, with a folder that has config.json and model.safetensors, or with
`L,C,V` for the random weights that examples/machine.rs makes. The program is what `cargo xtask bench machine` builds; it
makes its own weights, so it needs `L,C,V`, and LOUPE_DEVICE=cpu lets it read on the CPU. Without it only PyTorch is timed,
on the CPU and, where there is one, on CUDA.

The statistics are computed as the package transformer-utils does it: the logits of all rows of some positions are
kept, and softmax, KL divergences and ranks are taken from them one after the other, ranks by comparing all logits with
the token's. Before any time is printed, the numbers of each device are compared with the same ones by NumPy in f64,
for a text of at most CHECKED tokens. benches/devices.mjs compares the same statistics with Loupe's: machine prints none.
It needs torch and numpy.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

RUNS = 7
TOP = 10
N_CTX = 1024
# Tokens of the text of which the numbers are compared.
CHECKED = 16
# As far as real numbers may be from those in f64, and ranks, where logits are nearly equal.
REAL, RANK = 2e-3, 3
# Bytes of logits that are kept at once.
KEPT = 256 << 20


def tensors_of(n_layer, c, v):
    """Names and shapes of a file's tensors, in its order."""
    yield "wte.weight", (v, c)
    yield "wpe.weight", (N_CTX, c)
    for i in range(n_layer):
        for name, shape in [
            ("ln_1.weight", (c,)),
            ("ln_1.bias", (c,)),
            ("attn.c_attn.weight", (c, 3 * c)),
            ("attn.c_attn.bias", (3 * c,)),
            ("attn.c_proj.weight", (c, c)),
            ("attn.c_proj.bias", (c,)),
            ("ln_2.weight", (c,)),
            ("ln_2.bias", (c,)),
            ("mlp.c_fc.weight", (c, 4 * c)),
            ("mlp.c_fc.bias", (4 * c,)),
            ("mlp.c_proj.weight", (4 * c, c)),
            ("mlp.c_proj.bias", (c,)),
        ]:
            yield f"h.{i}.{name}", shape
    yield "ln_f.weight", (c,)
    yield "ln_f.bias", (c,)


def seeds(n):
    """The first n numbers of machine's sequence: each is 48271 times the last one, modulo 2^31 - 1."""
    modulus = 2**31 - 1
    found = np.array([48_271], np.uint64)
    while len(found) < n:
        # The sequence so far, as many steps further on.
        step = pow(48_271, len(found), modulus)
        found = np.concatenate([found, found * np.uint64(step) % np.uint64(modulus)])
    return found[:n]


def random(n_layer, c, v):
    """Halves of both signs between 2^-6 and 2^-5, the same as machine's."""
    shapes = list(tensors_of(n_layer, c, v))
    sizes = [int(np.prod(shape)) for _, shape in shapes]
    bits = (seeds(sum(sizes)) & np.uint64(0x83FF)).astype(np.uint16) | np.uint16(0x2400)
    halves = np.split(bits.view(np.float16), np.cumsum(sizes)[:-1])
    weights = {name: half.astype(np.float32).reshape(shape) for (name, shape), half in zip(shapes, halves)}
    config = {"n_layer": n_layer, "n_embd": c, "n_head": c // 64, "vocab_size": v, "layer_norm_epsilon": 1e-5}
    return config, weights


def loaded(folder):
    config = json.loads((folder / "config.json").read_text())
    file = (folder / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(file[:8], "little")
    weights = {}
    for name, about in json.loads(file[8:start]).items():
        if name == "__metadata__":
            continue
        dtype = {"F16": np.float16, "F32": np.float32}[about["dtype"]]
        first, end = (start + offset for offset in about["data_offsets"])
        values = np.frombuffer(file[first:end], dtype).astype(np.float32)
        weights[name.removeprefix("transformer.")] = values.reshape(about["shape"])
    return config, weights


class Lens:
    """GPT-2, and its rows through the final norm and the unembedding, by PyTorch in f32."""

    def __init__(self, config, weights, device):
        self.config, self.device = config, device
        # F.linear takes a matrix with the outputs first, the file has them last.
        self.w = {
            name: torch.from_numpy(values.T.copy() if ".c_" in name and values.ndim == 2 else values).to(device)
            for name, values in weights.items()
        }

    def norm(self, x, name):
        epsilon = self.config["layer_norm_epsilon"]
        return F.layer_norm(x, x.shape[-1:], self.w[f"{name}.weight"], self.w[f"{name}.bias"], epsilon)

    def linear(self, x, name):
        return F.linear(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"])

    def rows(self, ids):
        """The input embeddings, and the output of each block. [N, T, C]"""
        (t,), heads = ids.shape, self.config["n_head"]
        x = self.w["wte.weight"][ids] + self.w["wpe.weight"][:t]
        rows = [x]
        for i in range(self.config["n_layer"]):
            qkv = self.linear(self.norm(x, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn")
            q, k, v = qkv.reshape(t, 3, heads, -1).permute(1, 2, 0, 3).unsqueeze(1).unbind()
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.linear(mixed[0].transpose(0, 1).reshape(t, -1), f"h.{i}.attn.c_proj")
            inner = F.gelu(self.linear(self.norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc"), approximate="tanh")
            x = x + self.linear(inner, f"h.{i}.mlp.c_proj")
            rows.append(x)
        return torch.stack(rows)

    @torch.inference_mode()
    def read(self, ids):
        """Statistics by row and position of all ids but the last, which is the next one of the last position."""
        ids = torch.from_numpy(ids).to(self.device)
        rows = self.rows(ids[:-1])
        n, t, _ = rows.shape
        step = max(1, KEPT // (4 * n * self.config["vocab_size"]))
        blocks = [self.block(rows[:, i : i + step], ids[i : i + step + 1]) for i in range(0, t, step)]
        return {name: torch.cat([block[name] for block in blocks], 1).cpu().numpy() for name in blocks[0]}

    def block(self, rows, ids):
        logits = F.linear(self.norm(rows, "ln_f"), self.w["wte.weight"])
        log_p = F.log_softmax(logits, -1)
        p = log_p.exp()

        def divergence(of, to):
            return (p[of] * (log_p[of] - log_p[to])).sum(-1)

        n = len(rows)
        each, last, first = slice(n), slice(n - 1, n), slice(1)
        top = logits.topk(TOP, -1)
        found = {
            "logsumexp": logits.logsumexp(-1),
            "entropy": -(p * log_p).sum(-1),
            "kl_final": divergence(last, each),
            "kl_final_reverse": divergence(each, last),
            "kl_input": divergence(first, each),
            "kl_input_reverse": divergence(each, first),
            "top_logits": top.values,
            "top_ids": top.indices,
        }
        for name, tokens in [("final", top.indices[-1, :, 0]), ("input", ids[:-1]), ("next", ids[1:])]:
            at = tokens.expand(n, -1)[..., None]
            own = logits.gather(-1, at)
            found[f"rank_{name}"] = 1 + (logits > own).sum(-1)
            found["logit_final" if name == "final" else f"logprob_{name}"] = (
                own if name == "final" else log_p.gather(-1, at)
            )[..., 0]
        return found


def exact(config, weights, ids):
    """The same statistics by NumPy in f64."""
    w = {name: values.astype(np.float64) for name, values in weights.items()}
    (t,), heads = ids[:-1].shape, config["n_head"]

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + config["layer_norm_epsilon"])
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x, name):
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    x = w["wte.weight"][ids[:-1]] + w["wpe.weight"][:t]
    rows = [x]
    for i in range(config["n_layer"]):
        q, k, v = linear(norm(x, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn").reshape(t, 3, heads, -1).transpose(1, 2, 0, 3)
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
        scores[:, np.triu(np.ones((t, t), bool), 1)] = -np.inf
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ v
        x = x + linear(mixed.transpose(1, 0, 2).reshape(t, -1), f"h.{i}.attn.c_proj")
        inner = linear(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc")
        inner = inner / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
        x = x + linear(inner, f"h.{i}.mlp.c_proj")
        rows.append(x)
    logits = norm(np.stack(rows), "ln_f") @ w["wte.weight"].T
    most = logits.max(-1, keepdims=True)
    lse = most + np.log(np.exp(logits - most).sum(-1, keepdims=True))
    log_p = logits - lse
    p = np.exp(log_p)
    top_ids = np.argsort(-logits, -1, kind="stable")[..., :TOP]
    found = {
        "logsumexp": lse[..., 0],
        "entropy": -(p * log_p).sum(-1),
        "kl_final": (p[-1] * (log_p[-1] - log_p)).sum(-1),
        "kl_final_reverse": (p * (log_p - log_p[-1])).sum(-1),
        "kl_input": (p[0] * (log_p[0] - log_p)).sum(-1),
        "kl_input_reverse": (p * (log_p - log_p[0])).sum(-1),
        "top_logits": np.take_along_axis(logits, top_ids, -1),
    }
    for name, tokens in [("final", top_ids[-1, :, 0]), ("input", ids[:-1]), ("next", ids[1:])]:
        own = np.take_along_axis(logits, np.broadcast_to(tokens, (len(rows), t))[..., None], -1)
        found[f"rank_{name}"] = 1 + (logits > own).sum(-1)
        found["logit_final" if name == "final" else f"logprob_{name}"] = (own if name == "final" else own - lse)[..., 0]
    return found, logits


def check(name, found, expected, logits):
    """Prints the largest differences, and ends the program if one is too large."""
    apart = {key: float(np.abs(found[key] - values).max()) for key, values in expected.items()}
    # An id is right if its logit is that of its place, up to the tolerance.
    listed = np.take_along_axis(logits, found["top_ids"], -1)
    apart["top_ids"] = float(np.abs(listed - expected["top_logits"]).max())
    print(f"{name}, largest differences from f64: " + ", ".join(f"{key} {most:.2g}" for key, most in apart.items()))
    wrong = [key for key, most in apart.items() if not most <= (RANK if key.startswith("rank_") else REAL)]
    if wrong:
        sys.exit(f"{name} is too far from f64, so no times: {', '.join(wrong)}")


def machine(program, shape, t):
    """Milliseconds of a reading by Loupe's benchmark: its own median, least and most; and what it read on."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        environment = os.environ | {"LOUPE_BENCH_JSON": str(report)}
        subprocess.run([str(Path(program).resolve()), shape, str(t)], env=environment, check=True, stdout=subprocess.DEVNULL)
        found = json.loads(report.read_text())
    reading = found["readings"][0]
    return [reading[key] for key in ("ms", "least_ms", "most_ms")], found["adapter"]


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    name, t = sys.argv[1], int(sys.argv[2])
    program = sys.argv[3] if len(sys.argv) == 4 else None
    is_random = "," in name
    config, weights = random(*map(int, name.split(","))) if is_random else loaded(Path(name))
    v = config["vocab_size"]
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    lenses = {f"torch {device}": Lens(config, weights, device) for device in devices}

    def ids_of(run, n):
        return np.array([((run + 1) * 7919 + i * 104_729) % v for i in range(n + 1)])

    ids = ids_of(0, min(t, CHECKED))
    expected = exact(config, weights, ids)
    for device, lens in lenses.items():
        check(device, lens.read(ids), *expected)

    if program and not is_random:
        sys.exit("machine makes its own weights: it needs L,C,V")
    if program and not Path(program).exists():
        print(f"{program} is absent, so only PyTorch is timed")
        program = None
    times = {device: [] for device in lenses}
    ours = []
    # In turns: all runs of PyTorch's devices are between runs of the program. The first reading is not counted.
    for run in range(RUNS + 1):
        turn = list(lenses.items())
        for device, lens in turn if run % 2 == 0 else reversed(turn):
            start = time.perf_counter()
            lens.read(ids_of(run, t))
            if run > 0:
                times[device].append(1e3 * (time.perf_counter() - start))
        if program:
            ours.append(machine(program, name, t))
    print(f"\ntorch {torch.__version__}, {torch.get_num_threads()} threads, T={t}, ms of {RUNS} readings")
    print(f"{'device':40}{'median':>10}{'least':>10}{'most':>10}")
    for device, found in times.items():
        print(f"{device:40}{statistics.median(found):10.1f}{min(found):10.1f}{max(found):10.1f}")
    if ours:
        medians, least, most = zip(*(ms for ms, _ in ours))
        print(f"{'Loupe, ' + ours[0][1]:40.40}{statistics.median(medians):10.1f}{min(least):10.1f}{max(most):10.1f}")


main()
