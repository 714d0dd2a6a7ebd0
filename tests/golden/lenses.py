"""Makes the golden files of lenses that map the stream, of fitted ones, and of what tokens say alone.

    python tests/golden/lenses.py

Besides what make.py needs, that takes the package tuned-lens, 0.2.0 (`pip install --no-deps tuned-lens` will do).

The models and texts are those of edits.py. Rows are input, h.0, …, h.(L-1); C is the width of the stream h. A lens maps
some of the rows before the final norm; the others are read by the logit lens. tests/golden/lenses/ holds

    {name}_tuned.pt, .json      a tuned lens, saved by the package's own `save`: "i.weight" [C, C] (out, in), "i.bias"
                                [C], for i < L: logits = unembed(ln_f(h + W_i h + b_i)), h what block i *reads*: the
                                row input for i = 0, else h.(i-1). neo's .json is as versions 0.1 wrote it, in which
                                "unembed_hash" is called "unemebd_hash"; the files on the hub have that
    {name}_jacobian.pt          a Jacobian lens, as jlens saves it: {"J": {l: half [C, C]}, "n_prompts",
                                "source_layers", "d_model"} for l < L - 1: logits = unembed(ln_f(J_l h)), h what block l
                                *returns*: the row h.l

and {name}.safetensors, for each lens in {tuned, jacobian}, with the statistics of make.py,

    {lens}/entropy, kl_final, kl_input, logprob_next    [N, T]   float32, from float64; the references are rows of the
                                                                 same lens
    {lens}/[low/, high/]rank_final                      [N, T]   int32
    {lens}/plain/entropy, {lens}/none/entropy           [N, T]   ln_f without gain and bias; no norm; the map stays
    alone/kl, alone/kl_reverse   [N, T]   KL(alone ‖ row), KL(row ‖ alone) under the logit lens, where alone is what the
                                          model says at the end about the token alone at its own position
    alone/top                    [T]      int32: its most probable token

What the package says of the tuned lens, on the hidden states that transformers returns, must be the same.

The files bad_*.pt are for the model gpt2_halves and are no lens for it: a checkpoint of a Jacobian lens' fit (sum), one
of width C + 1 (width), one with a layer L + 3 (layers); a tuned lens with a bias missing (missing), with one NaN (nan),
and one as versions before 0.1 saved it, with the model's norm and unembedding and other names (unembed).

fit_{model}.safetensors has maps fitted over texts of *Tales*, drawn from it as in corpus.py, and of gpt2_halves, random
ones. Position 0 of each text is left out; of the n positions that remain, in order, the last round(0.2 n) are held out,
and the others are for training. Rows x are mapped to y, both centred by their means over the training positions:

    M = (XᵀX + r · tr(XᵀX)/C · 1)⁻¹ XᵀY,    c = mean(y) - mean(x) M,    ŷ = x M + c

for ridges r of RIDGES, by numpy.linalg.lstsq: rows √(r · tr/C) · 1 stand below X, and zeros below Y. Solving the normal
equations must give the same. Target "final" has y = the final row normalised, without gain and bias, for all rows but
the last, and logits = unembed(γ ∘ ŷ + β); target "input" has y = wte of the token at the position, for all rows.

    fit/{target}/{row}/0.001/weight, bias    [C, C] (in, out), [C]   float32; of Tales only final: input and h.4
    recover/ids                    [N, T] int32   Tales, text 0, target input, r = 1e-3: the token whose row of wte is
                                                  nearest to ŷ (Euclid), position 0 included
    recover/[low/, high/]rank      [N, T] int32   rank of the true token by that distance, 1 = nearest; low and high
                                                  if its squared distance were by 1e-3 of itself smaller or larger
    recover/margin                 [N, T]         by how much, as a share of the smallest squared distance, the second
                                                  smallest is larger

The metadata of a fit has the texts and the number of held-out positions; by row and ridge, over the held-out positions,
"final": kl = mean KL(final row ‖ ŷ's logits), agreement = share with the same most probable token, and "input":
r2 = 1 - Σ‖y - ŷ‖²/Σ‖y - ȳ‖² with ȳ the held-out mean, recovered = share whose nearest token is the true one; and
"off_scores", how far these are off. All metadata have "off" by array, of the same computation in float32; in fits the
stream and the products XᵀX and XᵀY are float32, what is solved then is not.
"""

import copy
import json
import math

import numpy
import torch
from safetensors.torch import save_file
from tuned_lens.nn.lenses import TunedLens, TunedLensConfig
from tuned_lens.nn.unembed import Unembed

from attribution import CASES, load, near
from corpus import common, draw, tales
from families import Halves, split
from make import HERE, decode, rank, statistics, taps

OUT = HERE / "lenses"
KEEP = ["entropy", "kl_final", "kl_input", "logprob_next", "rank_final", "low/rank_final", "high/rank_final"]
RIDGES = [1e-4, 1e-3, 1e-2]
STORED = 1e-3
HELD_OUT = 0.2
MARGIN = 1e-3


def save(name, values, info):
    for key, value in values.items():
        assert value.isfinite().all() or key.endswith("logprob_next"), key
    values = {k: (v.float() if v.is_floating_point() else v.to(torch.int32)).contiguous() for k, v in values.items()}
    file = OUT / f"{name}.safetensors"
    save_file(values, file, {"info": json.dumps(dict(text=None, **info))})
    worst = max(info["off"], key=info["off"].get)
    print(name, len(values), "arrays", file.stat().st_size, "bytes, off by at most", info["off"][worst], "in", worst)


def off_by(exact, rough):
    return {
        key: (value - rough[key].double()).nan_to_num().abs().max().item()
        for key, value in exact.items()
        if value.is_floating_point()
    }


# Lenses from files.


class CtrlUnembed(Unembed):
    """The package does not know where CTRL's final norm is."""

    def __init__(self, model):
        torch.nn.Module.__init__(self)
        self.final_norm = copy.deepcopy(model.transformer.layernorm)
        self.unembedding = copy.deepcopy(model.lm_head)


def make_tuned(name, model, generator):
    """Writes a tuned lens, and returns the package's own one."""
    config = model.config
    unembed = CtrlUnembed(model) if config.model_type == "ctrl" else Unembed(model)
    lens = TunedLens(unembed, TunedLensConfig(name, config.hidden_size, config.num_hidden_layers))
    for translator in lens:
        noise = torch.randn(translator.weight.shape, generator=generator)
        translator.weight.data = 0.6 * noise / config.hidden_size**0.5
        translator.bias.data = 0.3 * torch.randn(translator.bias.shape, generator=generator)
    lens.save(OUT, f"{name}_tuned.pt", f"{name}_tuned.json")
    if name == "neo":
        file = OUT / f"{name}_tuned.json"
        fields = json.loads(file.read_text())
        file.write_text(json.dumps({"unemebd_hash" if k == "unembed_hash" else k: v for k, v in fields.items()}))
    return lens


def make_jacobian(name, layers, width, generator):
    maps = {}
    for layer in layers:
        noise = torch.randn((width, width), generator=generator)
        maps[layer] = (torch.eye(width) + 0.6 * noise / width**0.5).half()
    torch.save(dict(J=maps, n_prompts=7, source_layers=list(layers), d_model=width), OUT / f"{name}.pt")


def open_lens(name):
    return torch.load(OUT / f"{name}.pt", weights_only=True)


def streams(halves):
    """Rows by depth. Shape: [N, T, C]."""
    x = halves.input
    rows = [x[0]]
    for i in range(len(halves.halves) // 2):
        x = halves.run([f"h.{i}.attn", f"h.{i}.mlp"], x)
        rows.append(x[0])
    assert torch.equal(halves.unembed(x, "affine"), halves.own), "the last row is not the model"
    return torch.stack(rows)


def tuned(rows, state):
    maps = [(state[f"{i}.weight"].to(rows), state[f"{i}.bias"].to(rows)) for i in range(len(rows) - 1)]
    return torch.stack([*(h + h @ w.T + b for h, (w, b) in zip(rows, maps)), rows[-1]])


def jacobian(rows, state):
    mapped = rows.clone()
    for layer, j in state["J"].items():
        mapped[layer + 1] = rows[layer + 1] @ j.to(rows).T
    return mapped


def alone(model, halves, tolerance):
    """Final logits of every token alone at its position: by the halves, and by the model. Shape: [T, V]."""
    n_tokens = halves.input.shape[1]
    x = halves.input[0][:, None]
    with torch.no_grad():
        for block in model.transformer.h:
            for half in split(block, None):
                x = torch.cat([half(x[t : t + 1]) for t in range(n_tokens)])
        logits = halves.head(halves.norm(x))[:, 0]
        for t, id in enumerate(halves.ids):
            own = model(torch.tensor([[id]]), position_ids=torch.tensor([[t]])).logits[0, 0]
            assert near(logits[t], own, tolerance), "alone is not the model on one token"
    return logits


def arrays(model, ids, lenses, tolerance):
    """What a file of a case has, and the mapped rows by lens."""
    halves = Halves(model, ids)
    halves.ids = ids
    rows = streams(halves)
    out, mapped = {}, {}
    logits_of = lambda x, norm: torch.stack([halves.unembed(row[None], norm) for row in x])
    for lens, (apply, state) in lenses.items():
        x = mapped[lens] = apply(rows, state)
        found = statistics(logits_of(x, "affine"), ids, [])
        out.update({f"{lens}/{key}": found[key] for key in KEEP})
        for norm in ["plain", "none"]:
            out[f"{lens}/{norm}/entropy"] = statistics(logits_of(x, norm), ids, [])["entropy"]
    logits = alone(model, halves, tolerance)
    p, q = logits.log_softmax(-1), logits_of(rows, "affine").log_softmax(-1)
    out["alone/kl"] = (p.exp() * (p - q)).sum(-1)
    out["alone/kl_reverse"] = (q.exp() * (q - p)).sum(-1)
    out["alone/top"] = logits.argmax(-1)
    return out, mapped, halves


def case(name):
    ids, _, build = load(name)
    wide, narrow = build(torch.float64), build(torch.float32)
    n_layer, width = wide.config.num_hidden_layers, wide.config.hidden_size
    generator = torch.Generator().manual_seed(len(name))
    package = make_tuned(name, narrow, generator).double()
    make_jacobian(f"{name}_jacobian", range(n_layer - 1), width, generator)
    lenses = {
        "tuned": (tuned, open_lens(f"{name}_tuned")), "jacobian": (jacobian, open_lens(f"{name}_jacobian")),
    }
    # Transformers computes the weights of GPT-Neo's attention in float32.
    tolerance = 1e-5 if name == "neo" else 1e-9
    exact, mapped, halves = arrays(wide, ids, lenses, tolerance)
    rough, _, _ = arrays(narrow, ids, lenses, 1e-3)
    with torch.no_grad():
        hidden = wide(torch.tensor([ids]), output_hidden_states=True).hidden_states
        for i in range(n_layer):
            said, here = package(hidden[i], i)[0], halves.unembed(mapped["tuned"][i][None], "affine")
            assert near(said, here, tolerance), f"the package says something else of row {i}"
            assert near(package.unembed(hidden[i])[0], halves.unembed(hidden[i], "affine"), tolerance)
    for layer, j in lenses["jacobian"][1]["J"].items():
        assert near(hidden[layer + 1][0] @ j.double().T, mapped["jacobian"][layer + 1], tolerance)
    plain = streams(halves)
    for lens, rows in mapped.items():
        changed = [not near(a, b, 1e-2) for a, b in zip(rows, plain)]
        assert changed == [lens == "tuned", *[True] * (n_layer - 1), False], changed
    assert exact["alone/kl"][-1, 0].abs() < tolerance, "position 0 has company"
    for key in ["tuned/entropy", "jacobian/entropy", "tuned/kl_final", "alone/kl"]:
        print(f"  {name} {key}:", *(f"{v:.3f}" for v in exact[key].mean(1).tolist()))
    rows = ["input", *(f"h.{i}" for i in range(n_layer))]
    save(name, exact, dict(ids=ids, rows=rows, off=off_by(exact, rough)))


class BeforeRenaming(torch.nn.Module):
    """The parts of the package's lens before 0.1, whose whole state it saved."""

    def __init__(self, model, n_layer, width):
        super().__init__()
        self.layer_norm = copy.deepcopy(model.transformer.ln_f)
        self.unembedding = copy.deepcopy(model.lm_head)
        self.input_translator = torch.nn.Linear(width, width)
        self.layer_translators = torch.nn.ModuleList(torch.nn.Linear(width, width) for _ in range(n_layer - 1))


def bad_files():
    _, _, build = load("gpt2_halves")
    model = build(torch.float32)
    n_layer, width = model.config.n_layer, model.config.n_embd
    generator = torch.Generator().manual_seed(1)
    write = lambda state, name: torch.save(state, OUT / f"bad_{name}.pt")
    layers = list(range(n_layer - 1))
    sums = {layer: torch.randn((width, width), generator=generator) for layer in layers}
    state = dict(n_done=7, next_idx=7, source_layers=layers, target_layer=n_layer - 1, skip_first=16)
    write(dict(jacobian_sum=sums, **state), "sum")
    make_jacobian("bad_width", layers, width + 1, generator)
    make_jacobian("bad_layers", [*layers, n_layer + 3], width, generator)
    torch.manual_seed(1)
    write(BeforeRenaming(model, n_layer, width).state_dict(), "unembed")
    state = open_lens("gpt2_halves_tuned")
    state["2.weight"][3, 4] = math.nan
    write(state, "nan")
    state = open_lens("gpt2_halves_tuned")
    del state["1.bias"]
    write(state, "missing")


# Fits.


class Fit:
    """The rows of texts, and what they are mapped to. Shapes: rows [N, n, C]; targets [n, C]."""

    def __init__(self, model, texts):
        self.model, self.norm, self.dtype = model, model.transformer.ln_f, model.lm_head.weight.dtype
        self.wte = model.transformer.wte.weight.detach()
        self.whole = [taps(model, ids)[0] for ids in texts]
        self.rows = torch.cat([rows[:, 1:] for rows in self.whole], 1)
        self.ids = torch.tensor([id for ids in texts for id in ids[1:]])
        n = len(self.ids)
        assert abs(HELD_OUT * n % 1 - 0.5) > 0.1, "rounds one way here and the other way there"
        self.n_train = n - round(HELD_OUT * n)
        final = torch.nn.functional.layer_norm(self.rows[-1], self.rows.shape[-1:], eps=self.norm.eps)
        self.targets = {"final": final, "input": self.wte[self.ids]}

    def solve(self, row, target, ridge):
        """Weight [C, C], x on the left, and bias [C], in float64."""
        x, y = (v[: self.n_train].double() for v in [self.rows[row], self.targets[target]])
        x_mean, y_mean = x.mean(0), y.mean(0)
        x, y = x - x_mean, y - y_mean
        gram, cross = ((x.to(self.dtype).T @ v.to(self.dtype)).double() for v in [x, y])
        width = len(gram)
        shift = ridge * gram.trace() / width
        weight = torch.linalg.solve(gram + shift * torch.eye(width).double(), cross)
        if self.dtype == torch.float64:
            above = numpy.concatenate([x.numpy(), math.sqrt(shift) * numpy.eye(width)])
            beside = numpy.concatenate([y.numpy(), numpy.zeros((width, width))])
            exact = torch.from_numpy(numpy.linalg.lstsq(above, beside, rcond=None)[0])
            assert near(weight, exact, 1e-8 * exact.abs().max().item()), "the normal equations say otherwise"
            weight = exact
        return weight, y_mean - x_mean @ weight

    def held_out(self, row, solution):
        weight, bias = solution
        return self.rows[row, self.n_train :].double() @ weight + bias

    def logits(self, fitted):
        with torch.no_grad():
            x = self.norm.weight.double() * fitted + self.norm.bias.double()
            return x @ self.model.lm_head.weight.double().T

    def score_final(self, row, solution):
        final = decode(self.model, self.rows[-1, self.n_train :], "affine").double()
        logits = self.logits(self.held_out(row, solution))
        p, q = final.log_softmax(-1), logits.log_softmax(-1)
        agreement = (final.argmax(-1) == logits.argmax(-1)).double().mean()
        return {"kl": (p.exp() * (p - q)).sum(-1).mean().item(), "agreement": agreement.item()}

    def score_input(self, row, solution):
        y, fitted = self.targets["input"][self.n_train :].double(), self.held_out(row, solution)
        r2 = 1 - (y - fitted).square().sum() / (y - y.mean(0)).square().sum()
        nearest = self.distances(fitted).argmin(-1)
        recovered = (nearest == self.ids[self.n_train :]).double().mean()
        return {"r2": r2.item(), "recovered": recovered.item()}

    def distances(self, fitted):
        """Squared, to every row of wte. Shape: [n, V]."""
        return torch.cdist(fitted, self.wte.double(), compute_mode="donot_use_mm_for_euclid_dist").square()

    def recover(self, text, solutions, ids):
        """Of every position of a text, under the solution of every row."""
        found = []
        for rows, (weight, bias) in zip(self.whole[text], solutions):
            squares = self.distances(rows.double() @ weight + bias)
            true = torch.tensor(ids)
            share = MARGIN * squares.gather(-1, true[:, None])
            two = squares.topk(2, largest=False).values
            # Larger is nearer: `rank` counts from the largest.
            found.append({
                "recover/ids": squares.argmin(-1), "recover/rank": rank(-squares, true),
                "recover/low/rank": rank(-squares, true, share), "recover/high/rank": rank(-squares, true, -share),
                "recover/margin": two[:, 1] / two[:, 0] - 1,
            })
        return {key: torch.stack([each[key] for each in found]) for key in found[0]}


def fit(name, models, texts):
    exact, rough = (Fit(model, texts) for model in models)
    n_layer = exact.model.config.n_layer
    rows = ["input", *(f"h.{i}" for i in range(n_layer))]
    values, values32, scores, off_scores = {}, {}, {"final": {}, "input": {}}, {}
    probes, probes32 = [], []
    for target in scores:
        for row, tap in enumerate(rows[:-1] if target == "final" else rows):
            scores[target][tap] = {}
            for ridge in RIDGES:
                key = f"{target}/{tap}/{ridge}"
                solution, solution32 = (f.solve(row, target, ridge) for f in [exact, rough])
                score = lambda f, s: (f.score_final if target == "final" else f.score_input)(row, s)
                found, found32 = score(exact, solution), score(rough, solution32)
                scores[target][tap][str(ridge)] = found
                off_scores[key] = {what: abs(value - found32[what]) for what, value in found.items()}
                if ridge != STORED:
                    continue
                if name != "fit_tales" or (target == "final" and tap in ["input", "h.4"]):
                    for part, value, value32 in zip(["weight", "bias"], solution, solution32):
                        values[f"fit/{key}/{part}"], values32[f"fit/{key}/{part}"] = value, value32
                if target == "input":
                    probes.append(solution)
                    probes32.append(solution32)
            print(f"  {name} {target} {tap}:", *(
                f"{r}: " + ", ".join(f"{what} {v:.4f}" for what, v in found.items())
                for r, found in scores[target][tap].items()
            ))
    if name == "fit_tales":
        found, found32 = exact.recover(0, probes, texts[0]), rough.recover(0, probes32, texts[0])
        ranks = found32["recover/rank"]
        assert (found["recover/low/rank"] <= ranks).all() and (ranks <= found["recover/high/rank"]).all()
        other = found["recover/ids"] != found32["recover/ids"]
        print("  nearest tokens that are others in float32:", other.sum().item(), "of", other.numel())
        assert (found["recover/margin"][other] < MARGIN).all()
        assert torch.equal(found["recover/ids"] == torch.tensor(texts[0]), found["recover/rank"] == 1)
        span = (found["recover/high/rank"] - found["recover/low/rank"]).double()
        print(f"  low and high ranks are {span.mean():.1f} apart on average, {span.max():.0f} at most")
        values.update(found)
        values32.update(found32)
    worst = max((v, what, key) for key, both in off_scores.items() for what, v in both.items())
    print(f"  {name} {exact.n_train} for training, scores off by at most", worst)
    info = dict(
        texts=texts, rows=rows, ridges=RIDGES, held_out=len(exact.ids) - exact.n_train, off=off_by(values, values32),
        off_scores=off_scores, **scores,
    )
    save(name, values, info)


def fits():
    models = [tales(dtype) for dtype in [torch.float64, torch.float32]]
    generator = torch.Generator().manual_seed(7)
    texts = draw(models[0], 120, common(models[0], 6, generator), generator).tolist()
    fit("fit_tales", models, texts)
    _, _, build = load("gpt2_halves")
    models = [build(dtype) for dtype in [torch.float64, torch.float32]]
    texts = torch.randint(models[0].config.vocab_size, (5, 48), generator=generator).tolist()
    fit("fit_gpt2_halves", models, texts)


def main():
    torch.set_num_threads(1)
    OUT.mkdir(exist_ok=True)
    for name in CASES:
        case(name)
    bad_files()
    fits()


if __name__ == "__main__":
    main()
