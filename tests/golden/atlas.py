"""Makes tests/golden/atlas: what numpy says of the weights of the bundled model and of a random one with a prime vocabulary.

    python tests/golden/atlas.py

Everything is computed in float64 from the numbers as Loupe stores them: Tales is a half-precision file and stays as it
is, the random model is loaded in single precision.
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

HERE = Path(__file__).parent
N = 4
CHANNEL = 3
N_PARTS = 5
N_ITERATIONS = 20


def ranks(x):
    """From 1; equal values share the mean of theirs."""
    order = np.argsort(x, kind="stable")
    out = np.empty(len(x))
    out[order] = np.arange(1, len(x) + 1)
    for value in np.unique(x):
        out[x == value] = out[x == value].mean()
    return out


def semi_nmf(e, n, iterations):
    """Ding, Li and Jordan 2010, equations 10 and 11, from tokens spread evenly over the vocabulary."""
    start = e[[(2 * i + 1) * len(e) // (2 * n) for i in range(n)]]
    nearest = (e @ start.T - (start**2).sum(1) / 2).argmax(1)
    g = 0.2 + (nearest[:, None] == np.arange(n))
    explained = []

    def solve():
        gg = g.T @ g
        return np.linalg.solve(gg + 1e-9 * np.trace(gg) / n * np.eye(n), g.T @ e)

    f = solve()
    for _ in range(iterations):
        p, products = e @ f.T, f @ f.T
        above = p.clip(0) + g @ (-products).clip(0)
        below = (-p).clip(0) + g @ products.clip(0)
        g = g * np.sqrt((above + 1e-20) / (below + 1e-20))
        f = solve()
        explained.append(1 - ((e - g @ f) ** 2).sum() / (e**2).sum())
    lengths = np.linalg.norm(f, axis=1)
    f, g = f / lengths[:, None], g * lengths
    order = np.argsort(-(g**2).sum(0), kind="stable")
    return {"parts/directions": f[order], "parts/tokens": g[:, order].T, "parts/explained": np.array(explained)}


def case(name, path, token):
    tensors = {k.removeprefix("transformer."): v for k, v in load_file(path).items()}
    wte, wpe = (tensors[f"{k}.weight"].astype(np.float64) for k in ("wte", "wpe"))
    gain, bias = (tensors[f"ln_f.{k}"].astype(np.float64) for k in ("weight", "bias"))
    norms = np.linalg.norm(wte, axis=1)
    _, singular, directions = np.linalg.svd(wte, full_matrices=False)
    directions = directions[:N]
    mean = wte.mean(0)
    directions *= np.where(directions @ mean < 0, -1, 1)[:, None]
    # No text: any numbers with ties and a long tail will do.
    ids = np.arange(len(wte))
    counts = (ids * 7919 % 97) ** 2 // 50
    candidates = np.stack([wte[:, CHANNEL], norms, wte @ directions[0], ids, counts])
    out = {
        "wte_mean": mean, "wte_std": wte.std(0), "wpe_mean": wpe.mean(0), "wpe_std": wpe.std(0),
        "norms": norms, "channel": wte[:, CHANNEL], "singular_values": singular, "directions": directions,
        "tokens": (wte @ directions.T).T, "cosine_with_mean": directions @ mean / np.linalg.norm(mean),
        "counts": counts,
        "pearson": np.corrcoef(candidates), "spearman": np.corrcoef([ranks(x) for x in candidates]),
        "dots": wte @ wte[token], "cosines": wte @ wte[token] / (norms * norms[token]),
        "token": np.array([token]), "of_channel": np.array([CHANNEL]),
    }
    out |= semi_nmf(wte, N_PARTS, N_ITERATIONS)
    for view, rows in {"none": wte, "affine": wte, "placed": wte + wpe[5]}.items():
        if view != "none":
            centred = rows - rows.mean(1, keepdims=True)
            scale = np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
            rows = centred / scale * gain + bias
        logits = rows @ wte.T
        best = np.sort(logits, 1)
        out |= {
            f"{view}/argmax": logits.argmax(1), f"{view}/logit": best[:, -1],
            f"{view}/lead": best[:, -1] - best[:, -2], f"{view}/self": np.diag(logits), f"{view}/row": logits[token],
        }
    as_stored = {k: np.ascontiguousarray(v, dtype=np.int32 if v.dtype.kind == "i" else np.float32) for k, v in out.items()}
    (HERE / "atlas").mkdir(exist_ok=True)
    save_file(as_stored, HERE / "atlas" / f"{name}.safetensors")
    print(name, len(as_stored))


case("tales", HERE.parent.parent / "www/public/models/tales/model.safetensors", 300)
case("massive", HERE / "massive/model.safetensors", 7)
