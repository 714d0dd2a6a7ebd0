"""Makes the golden files of direct logit attribution, as make.py, families.py and edits.py do the rest.

    python tests/golden/attribution.py

Each file takes the model and text A of a case of edits.py. A tap is a sum of vectors, its components; the logit of a
token against another one, or against the mean of the vocabulary, is linear in them once σ of the tap is given:

    u = γ ∘ (e_a - e_b)        e: rows of the unembedding, e_b their mean if there is no b
    w = (u - mean(u)) / σ      σ² = var(x) + ε, over the channels of the tap x, without Bessel's correction
    contribution of c: ⟨c, w⟩

norm "affine" is that, "plain" has γ = 1 and β = 0, and "none" has w = e_a - e_b. The components are

    wte, wpe                   the row of the embedding (times √C: CTRL), that of the positions (CTRL: the sinusoid)
    h.i.attn.j                 z_j W_O,j, in which the biases of the values are
    h.i.attn.bias, h.i.mlp     b_O; the MLP's output with its bias
    ln_f.bias                  ⟨β, e_a - e_b⟩ ("affine")
    unembed.bias               bias_a - bias_b (CTRL)

as far as the tap has them. Transformers' own forward pass does the run, in float64, and hooks take what is needed.
tests/golden/attribution/{family}.safetensors holds, in float32 from float64,

    {norm}/{tap}/{position}/{a}[,{b}]            [components]
    attention/{block}/{head}/{position}          [position + 1]   weights of attention, by source
    sources/{block}/{head}/{tap}/{position}      [position + 1]   what each source adds to h.{block}.attn.{head}
    neurons/{block}/{tap}/{position}             [n_inner]        what each hidden unit adds to h.{block}.mlp

(the last two: affine, tokens a and b) and the metadata the names of the components by tap and norm, what the lens
shows for a cell ("shown": the sum of its components), and how far transformers itself is off in float32.
"""

import json

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from compare import FAMILIES
from edits import Places
from make import HERE, K, NORMS

CASES = ["gpt2_halves", "neo", "ctrl"]


def load(name):
    """Texts A and B of a case of edits.py, and what builds its model."""
    with safe_open(HERE / "edits" / f"{name}.safetensors", "pt") as file:
        info = json.loads(file.metadata()["info"])
    folder = HERE / name
    fields = json.loads((folder / "config.json").read_text())
    config_of, model_of = FAMILIES[fields["model_type"]]
    config = config_of(**fields, bos_token_id=0, eos_token_id=0)
    config._attn_implementation = "eager"
    state = load_file(folder / "model.safetensors")

    def build(dtype):
        model = model_of(config)
        missing, unexpected = model.load_state_dict(state, strict=False)
        assert not unexpected, unexpected
        model.tie_weights()
        return model.to(dtype).eval()

    return info["ids"], info["other"], build


def save(folder, name, values, info):
    out = HERE / folder
    out.mkdir(exist_ok=True)
    info = dict(text=None, track=[], k=K, precisions=["f32"], cases={}, **info)
    file = out / f"{name}.safetensors"
    values = {key: value.to(torch.float32).contiguous() for key, value in values.items()}
    assert all(value.isfinite().all() for value in values.values())
    save_file(values, file, {"info": json.dumps(info)})
    worst = max(info["off"], key=info["off"].get)
    print(name, len(values), "arrays", file.stat().st_size, "bytes, off by at most", info["off"][worst], "in", worst)


def near(a, b, tolerance=1e-9):
    return torch.allclose(torch.as_tensor(a), torch.as_tensor(b), rtol=0, atol=tolerance)


def matrix(module):
    """Shape: [in, out]. GPT-2's Conv1D keeps it so."""
    return module.weight.T if isinstance(module, torch.nn.Linear) else module.weight


class Trace:
    """A run, and what it is the sum of. Lists go by block; shapes: [T, ...], heads first where there are any."""

    def __init__(self, model, ids):
        body, places = model.transformer, Places(model)
        self.n_tokens, self.n_head, width = len(ids), model.config.num_attention_heads, model.config.hidden_size
        self.norm, self.head = places.norms["ln_f"], model.lm_head
        self.taps, self.mlps, self.posts, self.zs, self.vs, self.weights = {}, [], [], [], [], []
        by_head = lambda x: x.view(self.n_tokens, self.n_head, -1).transpose(0, 1)
        hooks = []
        after = lambda module, take: hooks.append(module.register_forward_hook(lambda m, a, out: take(out)))
        before = lambda module, take: hooks.append(module.register_forward_pre_hook(lambda m, a: take(a[0][0].clone())))
        for name, norm in places.taps.items():
            before(norm, lambda x, name=name: self.taps.__setitem__(name, x))
        for projection in places.projections.values():
            before(projection, lambda z: self.zs.append(by_head(z)))
        for mlp in places.mlps.values():
            after(mlp, lambda out: self.mlps.append(out[0].clone()))
        self.second = []
        for block in body.h:
            if hasattr(block, "multi_head_attention"):
                attention, second = block.multi_head_attention, block.ffn[2]
                values = attention.Wv
            else:
                attention, second = block.attn, block.mlp.c_proj
                values = attention.attention.v_proj if hasattr(attention, "attention") else attention.c_attn
            after(attention, lambda out: self.weights.append(out[1][0].clone()))
            # GPT-2's has queries and keys before the values.
            after(values, lambda out: self.vs.append(by_head(out[0][:, -width:].clone())))
            before(second, self.posts.append)
            self.second.append(second)
        with torch.no_grad():
            self.own = model(torch.tensor([ids])).logits[0]
        for hook in hooks:
            hook.remove()
        is_ctrl = hasattr(body, "pos_encoding")
        rows = places.embed.weight.detach()[ids]
        self.embedded = {
            "wte": rows * width**0.5 if is_ctrl else rows,
            "wpe": (body.pos_encoding if is_ctrl else places.wpe.weight.detach())[: self.n_tokens],
        }
        projections = list(places.projections.values())
        self.outputs = [matrix(projection).detach().reshape(self.n_head, -1, width) for projection in projections]
        self.biases = [projection.bias.detach() for projection in projections]

    def vectors(self, tap):
        """By name, what the stream at a tap is the sum of. Shapes: [T, C]."""
        halves = list(self.taps).index(tap)
        out = dict(self.embedded)
        for i in range(len(self.zs)):
            if halves >= 2 * i + 1:
                for j in range(self.n_head):
                    out[f"h.{i}.attn.{j}"] = self.zs[i][j] @ self.outputs[i][j]
                out[f"h.{i}.attn.bias"] = self.biases[i].expand(self.n_tokens, -1)
            if halves >= 2 * i + 2:
                out[f"h.{i}.mlp"] = self.mlps[i]
        return out

    def against(self, rows, tokens):
        """Of rows by token, that of the first less that of the second, or less the mean."""
        return rows[tokens[0]] - (rows[tokens[1]] if len(tokens) == 2 else rows.mean(0))

    def direction(self, norm, tap, position, tokens):
        u = self.against(self.head.weight.detach(), tokens)
        if norm == "none":
            return u
        if norm == "affine":
            u = self.norm.weight.detach() * u
        sigma = (self.taps[tap][position].var(correction=0) + self.norm.eps).sqrt()
        return (u - u.mean()) / sigma

    def components(self, norm, tap, position, tokens):
        w = self.direction(norm, tap, position, tokens)
        out = {name: c[position] @ w for name, c in self.vectors(tap).items()}
        if norm == "affine":
            out["ln_f.bias"] = self.norm.bias.detach() @ self.against(self.head.weight.detach(), tokens)
        if self.head.bias is not None:
            out["unembed.bias"] = self.against(self.head.bias.detach(), tokens)
        return out

    def sources(self, block, head, tap, position, tokens):
        written = self.vs[block][head] @ self.outputs[block][head]
        weights = self.weights[block][head, position, : position + 1]
        return weights * (written[: position + 1] @ self.direction("affine", tap, position, tokens))

    def neurons(self, block, tap, position, tokens):
        w = self.direction("affine", tap, position, tokens)
        return self.posts[block][position] * (matrix(self.second[block]).detach() @ w)

    def lens(self, norm, tap):
        """The logits of the modules themselves. Shape: [T, V]."""
        x = self.taps[tap]
        if norm == "plain":
            x = torch.nn.functional.layer_norm(x, x.shape[-1:], eps=self.norm.eps)
        with torch.no_grad():
            return self.head(self.norm(x) if norm == "affine" else x)


def check(trace):
    """What must hold of a run in float64."""
    for tap, x in trace.taps.items():
        assert near(sum(trace.vectors(tap).values()), x), f"the components are not {tap}"
    assert near(trace.lens("affine", list(trace.taps)[-1]), trace.own), "the last tap is not the model"
    for i, weights in enumerate(trace.weights):
        assert near(weights.sum(-1), torch.ones_like(weights[..., 0]), 1e-6) and (weights.triu(1) == 0).all()
        assert near(weights @ trace.vs[i], trace.zs[i]), f"weights and values do not make z of block {i}"
        second = trace.second[i]
        assert near(trace.posts[i] @ matrix(second) + second.bias, trace.mlps[i]), f"hidden units of block {i}"


def family(name):
    ids, other, build = load(name)
    exact, rough = (Trace(build(dtype), ids) for dtype in [torch.float64, torch.float32])
    check(exact)
    mid, last, n_block = len(ids) // 2, len(ids) - 1, len(exact.zs)
    final = f"h.{n_block - 1}"
    # The two most probable tokens of the last position.
    both = exact.own[last].topk(2).indices.tolist()
    values, off, names, shown = {}, {}, {}, {}
    lists = {"cells": [], "attention": [], "sources": [], "neurons": []}

    def add(kind, key, value, value32, **cell):
        assert key not in values
        values[key], off[key] = value, (value - value32.double()).abs().max().item()
        lists[kind].append(dict(key=key, **cell))

    for norm in NORMS:
        for tap in ["input", "h.0.attn", "h.1", final]:
            logits = exact.lens(norm, tap)
            for position in [0, mid, last]:
                for tokens in [both, both[:1]]:
                    key = f"{norm}/{tap}/{position}/{','.join(map(str, tokens))}"
                    cell = dict(norm=norm, tap=tap, position=position, tokens=tokens)
                    parts = exact.components(**cell)
                    assert names.setdefault(tap, {}).setdefault(norm, list(parts)) == list(parts)
                    value, value32 = (torch.stack(list(p.values())) for p in [parts, rough.components(**cell)])
                    here = logits[position]
                    difference = here[tokens[0]] - (here[tokens[1]] if len(tokens) == 2 else here.mean())
                    assert near(value.sum(), difference), f"{key} is not what the lens shows"
                    shown[key] = difference.item()
                    add("cells", key, value, value32, **cell)
    for block in range(n_block):
        for head in range(exact.n_head):
            row = lambda trace: trace.weights[block][head, last, : last + 1]
            cell = dict(block=block, head=head, position=last)
            add("attention", f"attention/{block}/{head}/{last}", row(exact), row(rough), **cell)
    for block, head, tap, position in [
        (0, 1, "h.0.attn", mid), (1, 0, final, last), (2, exact.n_head - 1, final, mid),
    ]:
        cell = dict(block=block, head=head, tap=tap, position=position, tokens=both)
        value = exact.sources(**cell)
        whole = exact.components("affine", tap, position, both)[f"h.{block}.attn.{head}"]
        assert near(value.sum(), whole), "the sources are not the head"
        key = f"sources/{block}/{head}/{tap}/{position}"
        add("sources", key, value, rough.sources(**cell), norm="affine", **cell)
    for block, tap, position in [(0, "h.1", mid), (2, final, last)]:
        cell = dict(block=block, tap=tap, position=position, tokens=both)
        value = exact.neurons(**cell)
        bias = exact.second[block].bias.detach() @ exact.direction("affine", tap, position, both)
        whole = exact.components("affine", tap, position, both)[f"h.{block}.mlp"]
        assert near(value.sum() + bias, whole), "the hidden units and the bias are not the MLP"
        key = f"neurons/{block}/{tap}/{position}"
        add("neurons", key, value, rough.neurons(**cell), norm="affine", **cell)
    save("attribution", name, values, dict(
        ids=ids, other=other, tokens=both, components=names, shown=shown, off=off, **lists,
    ))


def main():
    for name in CASES:
        family(name)


if __name__ == "__main__":
    main()
