"""Makes the golden files of given tokens in the memory of attention, as attribution.py and sets.py do the rest.

    python tests/golden/memory.py

Each file takes the model and text A of a case of edits.py. Block l reads h[i] at position i: the stream before its
ln_1, in the modified run itself. In the blocks l ≥ first, the keys and values that position t reads from the earlier
positions i < t are those of

    m[i] = (1 - α) h[i] + α (‖h[i]‖ / ‖e‖) e

in place of h[i]; e is the row of wte of a token given for position i: the true next one, ids[i + 1], or a control,
(7 ids[i + 1] + 3) mod V. The queries, the key and value of t itself and the stream are those of h, and m goes through
the block's own ln_1 and projections. Scale, mask and window of attention are the model's. CTRL's factor √C of the
embedding cancels in the ratio of norms. α = 0 is the model itself.

The modules' own projections do the run, with attention in the given precision throughout. Transformers computes the
weights of GPT-Neo's attention in float32, so it is compared with a tolerance of 1e-5, the others with 1e-9.
tests/golden/memory/{family}.safetensors holds, in float32 from float64,

    true/{first}/{alpha}       [T - 1]   log-probability (natural) of ids[t + 1] under the final logits at t
    control/{first}/{alpha}    [T - 1]   the same with the control tokens, for α > 0

and the metadata the control tokens, the values of α, and how far the same computation is off in float32.
"""

import torch

from attribution import CASES, load, near, save
from edits import Places
from families import Halves, split
from sets import modules_of

ALPHAS = [0, 0.5, 1]


def mixed(h, e, alpha):
    """What is in the memory of every position but the last. Shapes: h [T, C], e [T - 1, C] -> [T - 1, C]."""
    h = h[:-1]
    return (1 - alpha) * h + alpha * (h.norm(dim=-1, keepdim=True) / e.norm(dim=-1, keepdim=True)) * e


class Memory:
    """A model over ids, and what it reads and says under tokens in its memory."""

    def __init__(self, model, ids):
        self.model, self.places, self.halves = model, Places(model), Halves(model, ids)
        self.blocks, self.next = model.transformer.h, torch.tensor(ids[1:])
        self.n_head = model.config.num_attention_heads

    def logp(self, logits):
        """Of the true next tokens. Shapes: [T, V] -> [T - 1]."""
        return logits[:-1].log_softmax(-1).gather(-1, self.next[:, None])[:, 0]

    def scale_and_window(self, block):
        """The factor of the scores, and how many positions are seen with the own one, or None for all of them."""
        if hasattr(block, "multi_head_attention"):
            return block.multi_head_attention.scaling, None
        if hasattr(block.attn, "attention"):
            is_local = block.attn.attention_type == "local"
            return 1, self.model.config.window_size if is_local else None
        return block.attn.scaling, None

    def attention(self, i, h, m):
        """What block i's attention adds to the stream. m: [T - 1, C], in the memory."""
        block, norm = self.blocks[i], self.places.norms[f"h.{i}.ln_1"]
        makers, _, _ = modules_of(block)
        scale, window = self.scale_and_window(block)

        def parts(x):
            """Queries, keys and values. Shapes: [rows, heads, channels of a head]."""
            made = torch.cat([maker(norm(x)) for maker in makers], -1)
            return [part.view(len(x), self.n_head, -1) for part in made.chunk(3, -1)]

        q, k, v = parts(h)
        _, k_memory, v_memory = parts(m)
        out = []
        for t in range(len(h)):
            start = 0 if window is None else max(0, t + 1 - window)
            keys, values = (
                torch.cat([memory[start:t], own[t : t + 1]]) for memory, own in [(k_memory, k), (v_memory, v)]
            )
            scores = scale * torch.einsum("hd,ihd->ih", q[t], keys)
            out.append(torch.einsum("ih,ihd->hd", scores.softmax(0), values).flatten())
        return self.places.projections[f"h.{i}.attn_out"](torch.stack(out))

    def final(self, h):
        return self.logp(self.places.head(self.places.norms["ln_f"](h)))

    def run(self, first, alpha, tokens):
        """Shape: [T - 1]."""
        with torch.no_grad():
            h, e = self.halves.input[0], self.places.embed.weight[tokens]
            for i in range(len(self.blocks)):
                h = h + self.attention(i, h, mixed(h, e, alpha) if i >= first else h[:-1])
                h = h + self.places.mlps[f"h.{i}.mlp_out"](self.places.norms[f"h.{i}.ln_2"](h))
            return self.final(h)

    def run_by_modules(self, first, alpha, tokens):
        """The same: the attention module itself reads m[0], …, m[t - 1], h[t], and only its last row is kept."""
        with torch.no_grad():
            h, e = self.halves.input[0], self.places.embed.weight[tokens]
            for i, block in enumerate(self.blocks):
                attention, mlp = split(block, None)
                m = mixed(h, e, alpha) if i >= first else h[:-1]
                rows = [attention(torch.cat([m[:t], h[t : t + 1]])[None])[0, -1] for t in range(len(h))]
                h = mlp(torch.stack(rows)[None])[0]
            return self.final(h)


def family(name):
    ids, _, build = load(name)
    exact, rough = (Memory(build(dtype), ids) for dtype in [torch.float64, torch.float32])
    n_vocab, n_layer = exact.model.config.vocab_size, len(exact.blocks)
    tolerance = 1e-5 if name == "neo" else 1e-9
    own = exact.logp(exact.halves.own)
    control = [(id * 7 + 3) % n_vocab for id in ids[1:]]
    values, off = {}, {}
    for which, tokens, alphas in [("true", ids[1:], ALPHAS), ("control", control, ALPHAS[1:])]:
        for first in range(n_layer):
            for alpha in alphas:
                key, cell = f"{which}/{first}/{alpha}", (first, alpha, tokens)
                value = exact.run(*cell)
                assert near(value, exact.run_by_modules(*cell), tolerance), f"{key}: the modules say otherwise"
                # Position 0 reads from itself alone.
                assert near(value[0], own[0], tolerance), f"{key} changes position 0"
                change = (value - own).abs().max().item()
                if alpha == 0:
                    assert near(value, own, tolerance), f"{key} is not the model"
                else:
                    assert change > 1e-2, f"{key} changes nothing"
                if which == "control":
                    assert not near(value, values[f"true/{first}/{alpha}"], 1e-2), f"{key} is that of the true tokens"
                values[key] = value
                off[key] = (value - rough.run(*cell).double()).abs().max().item()
                print(f"{key}: mean {value.mean():.4f}, model {own.mean():.4f}, changes by at most {change:.3g}")
    save("memory", name, values, dict(ids=ids, control=control, alphas=ALPHAS, n_layer=n_layer, off=off))


def main():
    torch.set_num_threads(1)
    for name in CASES:
        family(name)


if __name__ == "__main__":
    main()
