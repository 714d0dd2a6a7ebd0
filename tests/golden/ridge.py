"""Makes tests/golden/lenses/ridge.json: ridge regressions of given numbers by numpy.linalg.lstsq in float64.

    python tests/golden/ridge.py

"x" and "y" are [40, 7], with means and spreads that differ by channel; for each ridge r, "fits" has weight [7, 7] (in, out) and
bias [7] of y = x W + b, where rows √(r · tr/7) · 1 stand below the centred x, and zeros below the centred y.
"""

import json
from pathlib import Path

import numpy as np

N, C = 40, 7


def fit(x, y, ridge):
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean, y - y_mean
    shift = ridge * np.trace(x.T @ x) / C
    above = np.concatenate([x, np.sqrt(shift) * np.eye(C)])
    weight = np.linalg.lstsq(above, np.concatenate([y, np.zeros((C, C))]), rcond=None)[0]
    return {"ridge": ridge, "weight": weight.ravel().tolist(), "bias": (y_mean - x_mean @ weight).tolist()}


def main():
    generator = np.random.default_rng(3)
    scale = 10.0 ** np.arange(-2, C - 2) / 8
    x = (generator.standard_normal((N, C)) + 3 * generator.standard_normal(C)) * scale
    y = np.tanh(x / scale @ generator.standard_normal((C, C)) / 3) + 0.1 * generator.standard_normal((N, C))
    out = {"x": x.ravel().tolist(), "y": y.ravel().tolist(), "fits": [fit(x, y, r) for r in (1e-9, 1e-4, 1e-2)]}
    (Path(__file__).parent / "lenses" / "ridge.json").write_text(json.dumps(out) + "\n")


main()
