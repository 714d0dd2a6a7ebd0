"""Makes the golden files of edited runs, as make.py, families.py and compare.py do the rest.

    python tests/golden/edits.py

Each file takes the model of another case and reads text A, `ids`, under lists of edits; text B, `other`, has as many
tokens, the first three of them A's. Transformers' own forward pass does the run, in float64, and every edit is a hook
on one of its modules. A tap is what a norm reads, the same tensor that the next half is added to, and is edited there
in place; a contribution is what the output projection of attention or the MLP returns; a head's part is that
projection of the head's own channels, without the bias. tests/golden/edits/{family}.safetensors holds

    {case}/{statistic}      [N, T]     float32, from float64; int32 if whole; statistics of make.py that KEEP lists

and the metadata the cases (depth, norm, edits, and the edits of B where a case has a reading "edited_b"), the names of
their rows, and how far transformers itself is off in float32.
"""

import json

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from compare import FAMILIES
from families import Halves, rows_of
from make import HERE, K, statistics

KEEP = [
    "entropy", "logsumexp", "logit_final", "logprob_input", "logprob_next", "kl_final", "kl_input", "rank_final",
    "low/rank_final", "high/rank_final", "track/5/logit",
]
TRACK = [5]
SHARED = 3


class Places:
    """Where a model is edited: its norms and contributions by name, and which norm reads which tap."""

    def __init__(self, model):
        body = model.transformer
        self.norms, self.taps, self.projections, self.mlps = {}, {}, {}, {}
        tap = "input"
        for i, block in enumerate(body.h):
            if hasattr(block, "multi_head_attention"):
                first, second, mlp = block.layernorm1, block.layernorm2, block.ffn
                projection = block.multi_head_attention.dense
            else:
                first, second, mlp = block.ln_1, block.ln_2, block.mlp
                projection = block.attn.attention.out_proj if hasattr(block.attn, "attention") else block.attn.c_proj
            self.norms.update({f"h.{i}.ln_1": first, f"h.{i}.ln_2": second})
            self.taps.update({tap: first, f"h.{i}.attn": second})
            self.projections[f"h.{i}.attn_out"] = projection
            self.mlps[f"h.{i}.mlp_out"] = mlp
            tap = f"h.{i}"
        self.norms["ln_f"] = self.taps[tap] = getattr(body, "ln_f", None) or body.layernorm
        self.embed = getattr(body, "wte", None) or body.w
        self.wpe = getattr(body, "wpe", None)
        self.head = model.lm_head


class Run:
    """A run under edits. `at` has, as edited, every tap and contribution, and the parts of head h as (name, h)."""

    def __init__(self, model, ids, edits, readings):
        self.places, self.edits, self.readings = Places(model), edits, readings
        self.n_tokens, self.n_head = len(ids), model.config.num_attention_heads
        self.like = model.lm_head.weight.detach()
        self.final_gain = torch.ones_like(self.like[0])
        self.at = {}
        self.sum = None
        for edit in edits:
            assert ("weights" in edit) != ("at" in edit), edit
            if "weights" in edit:
                self.change_weights(edit)
        hooks = []
        for name, norm in self.places.taps.items():
            hooks.append(norm.register_forward_pre_hook(lambda m, a, name=name: self.tap(name, a[0])))
        for name, projection in self.places.projections.items():
            hook = lambda m, a, out, name=name: self.contribution(name, out, self.parts(m, a[0]))
            hooks.append(projection.register_forward_hook(hook))
        for name, mlp in self.places.mlps.items():
            hooks.append(mlp.register_forward_hook(lambda m, a, out, name=name: self.contribution(name, out)))
        # Runs the model once. From then on only the changes of weights stay, for the rows to be decoded with.
        self.halves = Halves(model, ids)
        for hook in hooks:
            hook.remove()

    def change_weights(self, edit):
        what = edit["weights"]
        if "smooth" in edit:
            smooth(self.places.wpe.weight, edit["smooth"])
            return
        gain = torch.ones_like(self.like[0])
        gain[edit.get("channel", slice(None))] = edit["scale"]
        if what == "wpe":
            with torch.no_grad():
                self.places.wpe.weight *= gain
        elif what == "embed":
            self.places.embed.register_forward_hook(lambda m, a, out: out * gain)
        elif what == "unembed":
            self.places.head.register_forward_pre_hook(lambda m, a: (a[0] * gain,))
        else:
            self.places.norms[what].register_forward_hook(lambda m, a, out: out * gain)
            if what == "ln_f":
                self.final_gain *= gain

    def tap(self, name, stream):
        """In place: the residual connection reads the same tensor."""
        assert self.sum is None or torch.equal(stream[0], self.sum), f"{name} is not what came before it"
        stream[0] = self.edited(name, stream[0])
        self.at[name] = stream[0].clone()

    def contribution(self, name, out, parts=None):
        value = self.edited(name, out[0], parts)
        self.at[name] = value
        for head, part in enumerate(parts or []):
            self.at[name, head] = part
        before = list(self.places.taps)[2 * int(name.split(".")[1]) + ("mlp" in name)]
        self.sum = self.at[before] + value
        return value[None]

    def parts(self, projection, z):
        """The projection of each head alone. `forward` calls no hooks."""
        bias = projection.forward(torch.zeros_like(z))
        width = z.shape[-1] // self.n_head
        out = []
        for head in range(self.n_head):
            alone = torch.zeros_like(z)
            channels = slice(head * width, (head + 1) * width)
            alone[..., channels] = z[..., channels]
            out.append((projection.forward(alone) - bias)[0])
        return out

    def edited(self, name, value, parts=None):
        value = value.clone()
        replaced = set()
        for edit in self.edits:
            if edit.get("at") != name:
                continue
            assert sum(key in edit for key in ["from", "to", "add"]) == 1, edit
            head, rows = edit.get("head"), edit.get("positions", list(range(self.n_tokens)))
            assert len(set(rows)) == len(rows), "twice the same position"
            if "add" in edit:
                assert head is None, edit
                value[rows] += edit.get("scale", 1) * torch.tensor(edit["add"]).to(value)
            elif head is None:
                value[rows] = self.replacement(edit, rows)
                replaced.update(rows)
            else:
                # What was replaced as a whole has no parts any more.
                assert not replaced.intersection(rows), "a head of a replaced contribution"
                new = self.replacement(edit, rows)
                value[rows] += new - parts[head][rows]
                parts[head][rows] = new
        return value

    def replacement(self, edit, rows):
        key = lambda name: (name, edit["head"]) if "head" in edit else name
        if "from" in edit:
            source = edit["from"]
            columns = source.get("positions", rows)
            assert len(columns) == len(rows), edit
            return self.readings[source["reading"]].at[key(source.get("at", edit["at"]))][columns]
        if edit["to"] == "zero":
            return torch.zeros_like(self.like[: len(rows)])
        return self.readings[edit["to"]["mean"]].at[key(edit["at"])].mean(0)

    def rows(self, depth):
        return [name for name in self.places.taps if depth == "halves" or not name.endswith("attn")]

    def decode(self, depth, norm):
        """Shape: [N, T, V]."""
        streams = [self.at[name][None] for name in self.rows(depth)]
        if norm == "plain":
            eps = self.places.norms["ln_f"].eps
            streams = [torch.nn.functional.layer_norm(x, x.shape[-1:], eps=eps) * self.final_gain for x in streams]
            norm = "none"
        logits = torch.stack([self.halves.unembed(x, norm) for x in streams])
        if norm == "affine":
            assert torch.equal(logits[-1], self.halves.own), "the last row is not the model"
        return logits


def smooth(table, sigma):
    at = torch.arange(len(table)).to(table)
    weights = torch.exp(-((at[:, None] - at) ** 2) / (2 * sigma**2))
    with torch.no_grad():
        table.copy_(weights @ table / weights.sum(1, keepdim=True))


def cases(n_tokens, n_head, width, has_wpe):
    """Every case by name: depth, norm, edits, and those of B if it has a reading of its own."""
    mid, last = n_tokens // 2, n_tokens - 1
    found = {}

    def case(name, edits, depth="blocks", norm="affine", **more):
        found[name] = dict(depth=depth, norm=norm, edits=edits, **more)

    at = lambda place, positions=None, **more: {"at": place, **({"positions": positions} if positions else {}), **more}
    weights = lambda what, **more: {"weights": what, **more}
    source = lambda reading, place=None, positions=None: {
        "reading": reading, **({"at": place} if place else {}), **({"positions": positions} if positions else {}),
    }
    b = {"from": source("b")}
    zero = {"to": "zero"}
    mean = lambda reading: {"to": {"mean": reading}}
    add = lambda: {"add": [round(v, 2) for v in torch.randn(width).tolist()]}

    # Patching.
    case("tap_cell", [at("h.1", [mid], **b)])
    columns = source("b", "h.1", [last - 1, 3, mid])
    case("tap_positions", [at("h.0.attn", [0, mid - 1, last], **{"from": columns})], "halves")
    case("input_all", [at("input", **b)])
    a = {"from": source("a")}
    case("identity", [
        at("input", [0, last], **a), at("h.0.attn_out", head=1, **a), at("h.0", **a), at("h.1.attn_out", **a),
        at("h.1.attn", [mid], **a), at("h.2.mlp_out", [0, mid, last], **a), at("h.2", **a),
    ], "halves")
    case("attn_out", [at("h.0.attn_out", [3, last], **b)], "halves")
    case("mlp_out", [at("h.2.mlp_out", [4, mid, last], **b)])
    case("attn_out_of_block", [at("h.2.attn_out", [0, last], **{"from": source("a", "h.0.attn_out", [mid, 0])})])
    case("mlp_out_of_attn_out", [at("h.0.mlp_out", **{"from": source("b", "h.1.attn_out")})])
    case("tap_of_contribution", [at("h.1", [3], **{"from": source("b", "h.2.mlp_out", [last])})])
    case("final_row", [at("h.2", [0, mid], **{"from": source("b", "h.0", [last, mid])})])
    # Heads.
    case("head_all", [at("h.1.attn_out", head=1, **b)], "halves")
    case("head_cell", [at("h.2.attn_out", [last], head=0, **{"from": source("b", None, [mid])})])
    case("head_of_block", [at("h.0.attn_out", head=n_head - 1, **{"from": source("b", "h.2.attn_out")})])
    case("head_zero", [at("h.0.attn_out", head=0, **zero)])
    case("heads_zero", [at("h.1.attn_out", head=0, **zero), at("h.1.attn_out", [0, mid], head=n_head - 1, **zero)])
    case("heads_all_zero", [at("h.2.attn_out", head=head, **zero) for head in range(n_head)])
    # Ablation.
    case("mlp_out_zero", [at("h.0.mlp_out", [0, mid, last], **zero)])
    case("attn_out_zero", [at("h.2.attn_out", **zero)])
    case("head_mean", [at("h.2.attn_out", head=1, **mean("a"))], "halves")
    case("attn_out_mean", [at("h.0.attn_out", [3, last], **mean("a"))])
    case("mlp_out_mean", [at("h.1.mlp_out", **mean("b"))])
    # Steering.
    case("steer_cell", [at("h.0", [mid], **add(), scale=2.5)])
    case("steer_all", [at("h.1.attn", **add())], "halves")
    case("steer_contribution", [at("h.1.mlp_out", [0, last], **add(), scale=-1.5)])
    # Several edits. The later block stands first in one of them.
    case("two_blocks", [at("h.2.attn_out", head=0, **zero), at("h.1.mlp_out", **add()), at("h.0", [3, mid], **b)])
    case("add_then_replace", [
        at("h.1", [3, mid], **add()), at("h.1", [mid, last], **b),
        at("h.0.mlp_out", [0, mid], **add()), at("h.0.mlp_out", [mid, last], **zero),
    ])
    case("replace_then_add", [
        at("h.1", [mid, last], **b), at("h.1", [3, mid], **add()), at("h.1", [mid], **add(), scale=0.5),
        at("h.0.mlp_out", [mid, last], **zero), at("h.0.mlp_out", [0, mid], **add()),
    ])
    case("replace_twice", [
        at("h.1", **b), at("h.1", [mid, last], **{"from": source("a", "h.0", [0, 3])}),
        at("h.0.attn_out", head=1, **zero), at("h.0.attn_out", [0, last], **b),
    ])
    edited_b = {"from": source("edited_b")}
    edits = [at("h.1.attn", [mid - 1], **edited_b), at("h.2.mlp_out", [3, last], **edited_b)]
    case("edited_source", edits, "halves", edited_b=[at("h.0.attn_out", head=1, **zero)])
    # Weights.
    case("ln_1", [weights("h.0.ln_1", channel=5, scale=0)])
    case("ln_2", [weights("h.2.ln_2", channel=4, scale=-2)], "halves")
    for norm in ["affine", "plain"]:
        suffix = "" if norm == "affine" else f"_{norm}"
        case(f"ln_f{suffix}", [weights("ln_f", channel=2, scale=2.5)], norm=norm)
        case(f"unembed{suffix}", [weights("unembed", channel=width - 1, scale=0)], norm=norm)
    both = [weights("ln_f", channel=2, scale=2.5), weights("unembed", channel=7, scale=-1.5)]
    case("unembed_none", both, norm="none")
    case("embed", [weights("embed", channel=3, scale=2)])
    if has_wpe:
        case("wpe_channel", [weights("wpe", channel=2, scale=0.5)])
        case("wpe_zero", [weights("wpe", scale=0)])
        case("wpe_smooth", [weights("wpe", smooth=1.5)])
    moved = weights("wpe", channel=1, scale=-1) if has_wpe else weights("embed", channel=1, scale=-1)
    case("weights_and_patch", [
        weights("h.1.ln_2", channel=6, scale=0), moved, weights("unembed", channel=0, scale=0.5),
        at("h.1.attn", [mid], **b), at("h.2.attn_out", head=1, **zero), at("h.1.mlp_out", [last], **mean("b")),
    ], "halves")
    return found


def family(name):
    folder = HERE / name
    with safe_open(folder / "expected.safetensors", "pt") as file:
        ids = json.loads(file.metadata()["info"])["ids"][:24]
    fields = json.loads((folder / "config.json").read_text())
    config_of, model_of = FAMILIES[fields["model_type"]]
    config = config_of(**fields, bos_token_id=0, eos_token_id=0)
    config._attn_implementation = "eager"
    state = load_file(folder / "model.safetensors")
    torch.manual_seed(len(name))
    shift = torch.randint(1, config.vocab_size, (len(ids),)).tolist()
    other = [id if t < SHARED else (id + shift[t]) % config.vocab_size for t, id in enumerate(ids)]

    def run(dtype, text, edits=(), readings=None):
        model = model_of(config)
        missing, unexpected = model.load_state_dict(state, strict=False)
        assert not unexpected, unexpected
        model.tie_weights()
        return Run(model.to(dtype).eval(), text, edits, readings)

    dtypes = [torch.float64, torch.float32]
    plain = {dtype: {"a": run(dtype, ids), "b": run(dtype, other)} for dtype in dtypes}
    a, b = (plain[torch.float64][which] for which in "ab")
    same = lambda x, y: torch.allclose(x, y, rtol=0, atol=1e-6)
    for one in [a, b]:
        names, put_together = rows_of(one.halves, config.num_hidden_layers, "halves", [], "affine")
        assert names == one.rows("halves")
        assert same(put_together, one.decode("halves", "affine")) and same(put_together[-1], one.halves.own)

    values, off, rows = {}, {}, {}
    found = cases(len(ids), config.num_attention_heads, config.hidden_size, config.model_type != "ctrl")
    for key, case in found.items():
        edits, depth, norm = (case[field] for field in ["edits", "depth", "norm"])
        runs = []
        for dtype in dtypes:
            readings = dict(plain[dtype])
            if "edited_b" in case:
                readings["edited_b"] = run(dtype, other, case["edited_b"], plain[dtype])
            runs.append(run(dtype, ids, edits, readings))
        logits = [one.decode(depth, norm) for one in runs]
        rows[key] = runs[0].rows(depth)
        unedited = {"a": a.decode(depth, norm), "b": b.decode(depth, norm)}
        check(key, edits, rows[key], runs[0], logits[0], unedited, same)
        exact, rough = (statistics(x, ids, TRACK) for x in logits)
        off[key] = {}
        for stat in KEEP:
            value, whole = exact[stat], not exact[stat].is_floating_point()
            assert stat == "logprob_next" or value.isfinite().all(), f"{key}/{stat}"
            values[f"{key}/{stat}"] = value.to(torch.int32 if whole else torch.float32)
            if not whole:
                off[key][stat] = (value - rough[stat].double()).nan_to_num().abs().max().item()
    out = HERE / "edits"
    out.mkdir(exist_ok=True)
    info = dict(
        text=None, ids=ids, other=other, track=TRACK, k=K, precisions=["f32"], off=off, rows=rows, cases=found,
    )
    worst = max(max(stats.values()) for stats in off.values())
    file = out / f"{name}.safetensors"
    save_file({k: v.contiguous() for k, v in values.items()}, file, {"info": json.dumps(info)})
    print(name, len(found), "cases", len(values), "arrays", file.stat().st_size, "bytes, off by at most", worst)


def check(key, edits, rows, run, logits, plain, same):
    """What must hold of a case, whatever its numbers are. `plain` has the logits of A and B unedited."""
    if key == "identity":
        assert same(logits, plain["a"]), "a patch by itself changes something"
        return
    if key == "input_all":
        assert same(logits, plain["b"]), "a patch of the whole input is not the other run"
        return
    changes = (logits - plain["a"]).abs().amax(-1)
    assert changes.max() > 1e-3, f"{key} changes nothing"
    if key == "heads_all_zero":
        bias = run.places.projections["h.2.attn_out"].bias
        assert same(run.at["h.2.attn_out"], bias.expand_as(run.at["h.2.attn_out"])), "the bias does not stay"
    if any("weights" in edit for edit in edits):
        return
    # Nothing changes to the left of the edits, nor in a row before them.
    first = min(min(edit.get("positions", [0])) for edit in edits)
    assert (changes[:, :first] < 1e-6).all(), f"{key} changes a column to the left"
    order = list(run.places.taps)
    earliest = min(order.index(edit["at"].removesuffix("_out").removesuffix(".mlp")) for edit in edits)
    for row, change in zip(rows, changes):
        assert order.index(row) >= earliest or (change < 1e-6).all(), f"{key} changes a row before it"


def main():
    for name in ["gpt2_halves", "neo", "ctrl"]:
        family(name)


if __name__ == "__main__":
    main()
