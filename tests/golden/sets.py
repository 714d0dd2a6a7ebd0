"""Makes the golden files of sets of tokens and of circuits, as attribution.py and edits.py do the rest.

    python tests/golden/sets.py

Each file takes the model and text A of a case of edits.py. Transformers' own forward pass does the run, in float64,
and every tap with its half-blocks is decoded by the final norm and the unembedding (norm "affine").

A set is a list of token ids. Its probability is the sum of those of its members; its rank is that of the member with
the highest logit, 1 + the number of ids whose logit is greater, or equal with a lower id.

A circuit is how strongly a part of a block reads or writes each channel c of the stream, from the weights alone:

    q, k, v    |γ1_c| · ‖W_c,head‖     W: queries, keys, values [C, C], the columns of a head; γ1: gain of ln_1
    o          ‖W_head,c‖              W: output projection of attention [C, C], the rows of a head
    in         |γ2_c| · ‖W_c‖          W: first layer of the MLP [C, n_inner]; γ2: gain of ln_2
    out        ‖W_·,c‖                 W: second layer of the MLP [n_inner, C]

tests/golden/sets/{family}.safetensors holds, in float32 from float64 and in int32 if whole,

    set/{name}/prob                       [N, T]
    set/{name}/rank                       [N, T]
    set/{name}/rank_low, rank_high        [N, T]     rank if the logits of all members were 1e-4 larger, smaller
    circuits/{block}/{q, k, v, o}/{head}  [C]
    circuits/{block}/{in, out}            [C]

and the metadata the ids of each set, the names of the rows, and how far transformers itself is off in float32.
"""

import math

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from attribution import CASES, load, matrix, near, save
from edits import Places, Run
from make import HERE, rank

SHIFT = 1e-4


def sets_of(n_vocab):
    return {
        "even": list(range(0, n_vocab, 2)),
        "odd": list(range(1, n_vocab, 2)),
        "one": [7],
        "some": [0, 11, 12, n_vocab // 2 + 4, n_vocab - 1],
        "all": list(range(n_vocab)),
    }


def rank_of(logits, members, shift=0.0):
    """The rank of the best member if the logits of all members were `shift` larger. No member is above the best."""
    z, best = logits[..., members].max(-1, keepdim=True)
    best = torch.tensor(members)[best]
    z = z + shift
    ids = torch.arange(logits.shape[-1])
    above = (logits > z) | ((logits == z) & (ids < best))
    above[..., members] = False
    return 1 + above.sum(-1)


def readings(logits, members):
    """What is shown of a set. Shapes: logits [N, T, V] -> [N, T] each."""
    return {
        "prob": logits.softmax(-1)[..., members].sum(-1),
        "rank": rank_of(logits, members),
        "rank_low": rank_of(logits, members, SHIFT),
        "rank_high": rank_of(logits, members, -SHIFT),
    }


def modules_of(block):
    """The modules that make queries, keys and values: one for all three (GPT-2), or three. Then the MLP's layers."""
    if hasattr(block, "multi_head_attention"):
        attention = block.multi_head_attention
        return [attention.Wq, attention.Wk, attention.Wv], block.ffn[0], block.ffn[2]
    if hasattr(block.attn, "attention"):
        attention = block.attn.attention
        makers = [attention.q_proj, attention.k_proj, attention.v_proj]
    else:
        makers = [block.attn.c_attn]
    return makers, block.mlp.c_fc, block.mlp.c_proj


def circuits_of(model, table=matrix):
    """By key, how strongly each channel is read or written. `table` takes a module to its matrix [in, out]."""
    places, n_head = Places(model), model.config.num_attention_heads
    out = {}
    with torch.no_grad():
        for i, block in enumerate(model.transformer.h):
            makers, first, second = modules_of(block)
            gain1, gain2 = (places.norms[f"h.{i}.ln_{half}"].weight.abs() for half in [1, 2])
            read = torch.cat([table(maker) for maker in makers], 1).chunk(3, 1)
            written = table(places.projections[f"h.{i}.attn_out"]).chunk(n_head, 0)
            for head in range(n_head):
                for what, weights in zip("qkv", read):
                    out[f"circuits/{i}/{what}/{head}"] = gain1 * weights.chunk(n_head, 1)[head].norm(dim=1)
                out[f"circuits/{i}/o/{head}"] = written[head].norm(dim=0)
            out[f"circuits/{i}/in"] = gain2 * table(first).norm(dim=1)
            out[f"circuits/{i}/out"] = table(second).norm(dim=0)
    return out


def answers(module):
    """The matrix of a module by what it makes of each unit vector."""
    n_in = matrix(module).shape[0]
    unit = torch.eye(n_in, dtype=module.weight.dtype)
    return module(unit) - module(torch.zeros_like(unit))


def check_sets(logits, sets, values):
    """Probabilities and ranks in other ways."""
    order = logits.argsort(dim=-1, descending=True, stable=True)
    for name, members in sets.items():
        prob, whole, low, high = (values[name][key] for key in ["prob", "rank", "rank_low", "rank_high"])
        again = (logits[..., members].logsumexp(-1) - logits.logsumexp(-1)).exp()
        assert near(prob, again, 1e-12), f"the probability of {name}"
        places = torch.isin(order, torch.tensor(members)).int().argmax(-1)
        assert torch.equal(whole, 1 + places), f"the rank of {name} is not where its first member stands"
        each = torch.stack([rank(logits, torch.full(logits.shape[:2], id)) for id in members])
        assert torch.equal(whole, each.amin(0)), f"the rank of {name} is not the least of its members' ranks"
        assert (low <= whole).all() and (whole <= high).all(), name
        if len(members) == 1:
            target = torch.full(logits.shape[:2], members[0])
            assert torch.equal(low, rank(logits, target, SHIFT)) and torch.equal(high, rank(logits, target, -SHIFT))
    ones = torch.ones_like(values["all"]["prob"])
    assert near(values["even"]["prob"] + values["odd"]["prob"], ones, 1e-12), "even and odd are not all"
    assert near(values["all"]["prob"], ones, 1e-12) and (values["all"]["rank_high"] == 1).all()
    assert (torch.minimum(values["even"]["rank"], values["odd"]["rank"]) == 1).all()


def check_circuits(name, model, circuits):
    """Against what the modules themselves answer, and for GPT-2 against loops over the numbers of the file."""
    again = circuits_of(model, answers)
    assert circuits.keys() == again.keys()
    assert all(near(circuits[key], again[key], 1e-12) for key in circuits), f"{name}: the modules answer otherwise"
    if name != "gpt2_halves":
        return
    config, state = model.config, load_file(HERE / name / "model.safetensors")
    width, inner = config.n_embd, config.n_inner or 4 * config.n_embd
    depth = width // config.n_head
    length = lambda numbers: math.sqrt(sum(x * x for x in numbers))
    for i in range(config.n_layer):
        get = lambda key: state[f"transformer.h.{i}.{key}.weight"].tolist()
        gain1, gain2, qkv, o = get("ln_1"), get("ln_2"), get("attn.c_attn"), get("attn.c_proj")
        first, second = get("mlp.c_fc"), get("mlp.c_proj")
        for c in range(width):
            direct = {
                f"circuits/{i}/in": length(gain2[c] * first[c][j] for j in range(inner)),
                f"circuits/{i}/out": length(second[j][c] for j in range(inner)),
            }
            for head in range(config.n_head):
                own = range(head * depth, (head + 1) * depth)
                for part, what in enumerate("qkv"):
                    direct[f"circuits/{i}/{what}/{head}"] = length(gain1[c] * qkv[c][part * width + j] for j in own)
                direct[f"circuits/{i}/o/{head}"] = length(o[j][c] for j in own)
            for key, value in direct.items():
                assert abs(circuits[key][c].item() - value) < 1e-12, f"{key} of channel {c}"


def store(name, values, info):
    """`save`, which writes float32 only, with the ranks as int32 again."""
    save("sets", name, values, info)
    file = HERE / "sets" / f"{name}.safetensors"
    with safe_open(file, "pt") as stored:
        metadata = stored.metadata()
    typed = {k: v.to(torch.float32 if v.is_floating_point() else torch.int32) for k, v in values.items()}
    save_file({key: value.contiguous() for key, value in typed.items()}, file, metadata)


def family(name):
    ids, _, build = load(name)
    model = build(torch.float64)
    exact, rough = Run(model, ids, [], {}), Run(build(torch.float32), ids, [], {})
    logits, logits32 = (run.decode("halves", "affine") for run in [exact, rough])
    sets = sets_of(logits.shape[-1])
    found, found32 = ({key: readings(x, members) for key, members in sets.items()} for x in [logits, logits32])
    check_sets(logits, sets, found)
    values, off = {}, {}
    for which, stats in found.items():
        assert (stats["rank_low"] <= found32[which]["rank"]).all()
        assert (found32[which]["rank"] <= stats["rank_high"]).all()
        for stat, value in stats.items():
            values[f"set/{which}/{stat}"] = value
        off[f"set/{which}/prob"] = (stats["prob"] - found32[which]["prob"].double()).abs().max().item()
    circuits = circuits_of(model)
    check_circuits(name, model, circuits)
    values.update(circuits)
    store(name, values, dict(
        ids=ids, sets=sets, rows=exact.rows("halves"), off=off,
        n_head=model.config.num_attention_heads, n_layer=model.config.num_hidden_layers,
    ))


def main():
    torch.set_num_threads(1)
    for name in CASES:
        family(name)


if __name__ == "__main__":
    main()
