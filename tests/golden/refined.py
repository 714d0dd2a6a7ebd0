"""Makes tests/golden/lenses/refined.json: the least mean KL(final ‖ row) that any affine map of a row reaches.

    python tests/golden/refined.py

Over the texts of lenses/fit_gpt2_halves.safetensors without position 0, in float64, with logits = unembed(γ ∘ (x M + c) + β).
That is convex in M and c; torch's L-BFGS starts at the solution of least squares with a ridge of 1e-3 and ends where no
derivative is above 1e-7. By row: "start", the mean there, and "least". Units: nats.
"""

import json

import torch
from safetensors import safe_open

from attribution import load
from lenses import OUT, STORED, Fit


def kl(fit, x, final, weight, bias):
    y = fit.norm.weight.double() * (x @ weight + bias) + fit.norm.bias.double()
    q = (y @ fit.model.lm_head.weight.double().T).log_softmax(-1)
    return (final.exp() * (final - q)).sum(-1).mean()


def least(fit, row):
    """The mean at the start and at the end."""
    fit.n_train = len(fit.ids)
    x = fit.rows[row].double().detach()
    final = fit.logits(fit.targets["final"].double().detach()).log_softmax(-1)
    x_mean = x.mean(0)
    scale = (x - x_mean).square().mean().sqrt()
    weight, bias = (v.detach() for v in fit.solve(row, "final", STORED))
    start = kl(fit, x, final, weight, bias).item()
    # In units in which both parameters matter alike.
    m, c = (weight * scale).requires_grad_(), (bias + x_mean @ weight).requires_grad_()
    optimiser = torch.optim.LBFGS(
        [m, c], max_iter=20_000, max_eval=40_000, tolerance_grad=1e-7, tolerance_change=1e-15, history_size=50,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimiser.zero_grad()
        loss = kl(fit, (x - x_mean) / scale, final, m, c)
        loss.backward()
        return loss

    optimiser.step(closure)
    end = closure().item()
    slope = max(v.grad.abs().max().item() for v in [m, c])
    print(f"  {start:.6f} to {end:.6f}, largest derivative {slope:.1e}")
    assert slope < 1e-6
    return {"start": start, "least": end}


def main():
    torch.set_num_threads(1)
    with safe_open(OUT / "fit_gpt2_halves.safetensors", "pt") as file:
        info = json.loads(file.metadata()["info"])
    _, _, build = load("gpt2_halves")
    fit = Fit(build(torch.float64), info["texts"])
    found = {tap: least(fit, row) for row, tap in enumerate(info["rows"][:-1])}
    (OUT / "refined.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
