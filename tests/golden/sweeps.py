"""Makes the golden files of sweeps of patches, as make.py, families.py and edits.py do the rest.

    python tests/golden/sweeps.py

Besides what make.py needs, that takes TransformerLens, of a version that has HookedTransformer: below 4.

Each file takes the model of a case of edits.py with its texts A, clean, and B, corrupt. The metric m is the logit of
one token less that of another at one position of the model's output; a value of a sweep is

    (m - m_corrupt) / (m_clean - m_corrupt)

where m is of a run with one activation replaced: that of B with the activation of A ("denoise"), or that of A with the
activation of B ("noise"). A sweep goes over

    stream             what each block reads: [blocks, positions]
    attn_out, mlp_out  what attention, or the MLP, of each block adds to the stream: [blocks, positions]
    heads              what each head adds to it, replaced at all positions: [blocks, heads]

Transformers' own forward pass does the runs, in float64, edited by the hooks of edits.py. Each value is computed again
from the halves of families.py, and those of GPT-2 by patching.get_act_patch_* of TransformerLens, a second
implementation of the model. tests/golden/sweeps/{family}.safetensors holds

    {what}/{direction}/{position}      [rows, columns]     float32, from float64

and the metadata the tokens, the positions of the metric, m of the clean and the corrupt run at each, the names of the
rows, and how far transformers itself is off in float32.
"""

from importlib.metadata import version

import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig, patching
from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights

from attribution import CASES, load, near, save
from edits import SHARED, Run

WHATS = ["stream", "attn_out", "mlp_out", "heads"]
DIRECTIONS = {"denoise": ("corrupt", "clean"), "noise": ("clean", "corrupt")}


def rows_of(what, n_block):
    if what == "stream":
        return ["input"] + [f"h.{i}" for i in range(n_block - 1)]
    return [f"h.{i}.{'attn_out' if what == 'heads' else what}" for i in range(n_block)]


def edit_of(what, row, column):
    place = {"head": column} if what == "heads" else {"positions": [column]}
    return {"at": row, "from": {"reading": "source"}, **place}


class Texts:
    """The two runs, and all that are between them."""

    def __init__(self, model, ids, other):
        self.model, self.ids = model, {"clean": ids, "corrupt": other}
        self.n_block, self.n_head = model.config.num_hidden_layers, model.config.num_attention_heads
        self.runs = {which: Run(model, text, [], {}) for which, text in self.ids.items()}
        self.logits = {which: run.halves.own for which, run in self.runs.items()}

    def columns(self, what):
        return self.n_head if what == "heads" else len(self.ids["clean"])

    def sweep(self, what, direction, patched):
        """The logits of all runs of a sweep. Shape: [rows, columns, T, V]."""
        into, source = DIRECTIONS[direction]
        rows = rows_of(what, self.n_block)
        return torch.stack([
            torch.stack([patched(what, row, column, into, source) for column in range(self.columns(what))])
            for row in rows
        ])

    def by_hooks(self, what, row, column, into, source):
        run = Run(self.model, self.ids[into], [edit_of(what, row, column)], {"source": self.runs[source]})
        return run.halves.own

    def by_halves(self, what, row, column, into, source):
        """The stream is changed where the activation goes into it, and read by the halves that follow."""
        old, new = (self.runs[which].at for which in [into, source])
        taps, halves = list(self.runs[into].places.taps), self.runs[into].halves
        here = [column] if what != "heads" else slice(None)
        key = (row, column) if what == "heads" else row
        # A contribution goes into the tap that is named like it.
        tap = row if what == "stream" else row.removesuffix("_out").removesuffix(".mlp")
        stream = old[tap].clone()
        stream[here] += (new[key] - old[key])[here]
        rest = list(halves.halves)[taps.index(tap):]
        return halves.unembed(halves.run(rest, stream[None]), "affine")


class Metric:
    def __init__(self, plus, minus, position, logits):
        self.plus, self.minus, self.position = plus, minus, position
        self.clean, self.corrupt = self(logits["clean"]), self(logits["corrupt"])

    def __call__(self, logits):
        at = logits[..., self.position, :]
        return at[..., self.plus] - at[..., self.minus]

    def value(self, m):
        return (m - self.corrupt) / (self.clean - self.corrupt)


def tokens_of(logits, positions):
    """The two tokens whose metrics differ most between the texts, at the position where they do least."""
    change = (logits["clean"] - logits["corrupt"])[positions]
    least = (change[:, :, None] - change[:, None]).abs().amin(0)
    assert least.max() > 1
    return divmod(least.argmax().item(), least.shape[1])


def lens_of(hf):
    """GPT-2 as TransformerLens computes it, without any processing of the weights."""
    config = hf.config
    cfg = HookedTransformerConfig(
        n_layers=config.n_layer, n_heads=config.n_head, d_model=config.n_embd, d_head=config.n_embd // config.n_head,
        d_mlp=config.n_inner or 4 * config.n_embd, d_vocab=config.vocab_size, n_ctx=config.n_positions,
        act_fn=config.activation_function, eps=config.layer_norm_epsilon, normalization_type="LN",
        dtype=torch.float64, device="cpu",
    )
    model = HookedTransformer(cfg)
    model.load_and_process_state_dict(
        convert_gpt2_weights(hf, cfg), fold_ln=False, center_writing_weights=False, center_unembed=False,
        fold_value_biases=False,
    )
    return model.eval()


def compare_with_lens(texts, metrics, values):
    """The largest difference from TransformerLens."""
    model = lens_of(texts.model)
    functions = {
        "stream": patching.get_act_patch_resid_pre, "attn_out": patching.get_act_patch_attn_out,
        "mlp_out": patching.get_act_patch_mlp_out, "heads": patching.get_act_patch_attn_head_out_all_pos,
    }
    tokens = {which: torch.tensor([text]) for which, text in texts.ids.items()}
    worst = 0
    default = torch.get_default_dtype()
    # The dtype of what it returns.
    torch.set_default_dtype(torch.float64)
    with torch.no_grad():
        out = {which: model.run_with_cache(text) for which, text in tokens.items()}
        for which, (logits, _) in out.items():
            assert near(logits[0], texts.logits[which]), "TransformerLens has another model"
        for position, metric in metrics.items():
            own = Metric(metric.plus, metric.minus, position, {which: logits[0] for which, (logits, _) in out.items()})
            for direction, (into, source) in DIRECTIONS.items():
                for what, function in functions.items():
                    m = function(model, tokens[into], out[source][1], lambda logits: own(logits[0]))
                    key = f"{what}/{direction}/{position}"
                    assert m.dtype == torch.float64 and m.shape == values[key].shape
                    worst = max(worst, (own.value(m) - values[key]).abs().max().item())
                    assert worst < 1e-6, f"TransformerLens has other values of {key}"
    torch.set_default_dtype(default)
    return worst


def check(what, direction, position, value):
    """What must hold of a sweep, whatever its numbers are."""
    unchanged = 0.0 if direction == "denoise" else 1.0
    is_same = (value - unchanged).abs() < 1e-6
    if what != "heads":
        assert is_same[:, position + 1:].all(), "a patch to the right of the metric counts"
        assert is_same[:, :SHARED].all(), "a patch of what is the same in both texts counts"
    if what in ["attn_out", "mlp_out"]:
        assert is_same[-1, :position].all(), "the last block writes to the metric from another position"
    assert not is_same[:, position if what != "heads" else slice(None)].any()


def family(name):
    ids, other, build = load(name)
    exact, rough = (Texts(build(dtype), ids, other) for dtype in [torch.float64, torch.float32])
    positions = [len(ids) // 2, len(ids) - 1]
    plus, minus = tokens_of(exact.logits, positions)
    metrics, metrics32 = (
        {position: Metric(plus, minus, position, texts.logits) for position in positions} for texts in [exact, rough]
    )
    for direction, (into, source) in DIRECTIONS.items():
        everywhere = [{"at": "input", "from": {"reading": "source"}}]
        run = Run(exact.model, exact.ids[into], everywhere, {"source": exact.runs[source]})
        assert near(run.halves.own, exact.logits[source]), "a patch of the whole input is not the other run"
    values, off = {}, {}
    for what in WHATS:
        for direction in DIRECTIONS:
            logits, logits32 = (texts.sweep(what, direction, texts.by_hooks) for texts in [exact, rough])
            again = exact.sweep(what, direction, exact.by_halves)
            assert near(logits, again, 1e-6), f"{what}/{direction}: hooks and halves differ"
            for position, metric in metrics.items():
                value = metric.value(metric(logits))
                value32 = metrics32[position].value(metrics32[position](logits32))
                check(what, direction, position, value)
                key = f"{what}/{direction}/{position}"
                values[key], off[key] = value, (value - value32.double()).abs().max().item()
    more = {}
    if name == "gpt2_halves":
        worst = compare_with_lens(exact, metrics, values)
        more["transformer_lens"] = dict(
            version=version("transformer_lens"), compared=list(values), dtype="float64", off=worst,
        )
    m = {position: [metric.clean.item(), metric.corrupt.item()] for position, metric in metrics.items()}
    print(name, "plus", plus, "minus", minus, "m", m, more)
    save("sweeps", name, values, dict(
        ids=ids, other=other, plus=plus, minus=minus, positions=positions, m=m, off=off,
        rows={what: rows_of(what, exact.n_block) for what in WHATS}, **more,
    ))


def main():
    for name in CASES:
        family(name)


if __name__ == "__main__":
    main()
