"""Makes the golden file of a corpus: what the rows of *Tales* say on average, over texts longer than its context.

    python tests/golden/corpus.py

The texts are the model's own: drawn from it by transformers in float64, at temperature 1, from a common first token.
When the context is full, the last half of it is kept and read again from position 0. The texts stand in the metadata.

A text is read in windows that start at 0, stride, 2 · stride, … and cover `window` tokens, or what is left; the last
one is the first that reaches the end of the text. A position is scored in a window if its next token lies in the same
window and if no earlier window of the text has scored it. tests/golden/corpus/tales.safetensors holds, for each
setting and for the rows input, h.0, …, h.7 under the logit lens (with ln_f), over all scored positions,

    {window}_{stride}/loss         [N]   mean of -log p(next token), in nats
    {window}_{stride}/kl           [N]   mean of KL(final row ‖ row), in nats
    {window}_{stride}/entropy      [N]   mean, in nats
    {window}_{stride}/agreement    [N]   share in which the row's most probable token is the final row's
    {window}_{stride}/settled      [N]   share in which that holds of the row and of every row above it
    {window}_{stride}/{each}_low, {each}_high
                                   [N]   each of them ∓ 1.96 standard errors, with the windows as clusters

in float32 from float64. With s_w the sum of a measure over window w and n_w its scored positions, its mean is
m = Σ s_w / Σ n_w, and its standard error se, over the W windows with n_w > 0,

    se² = W / (W - 1) · Σ (s_w - m n_w)² / (Σ n_w)²

The metadata has, by setting, the scored positions ("n"), the windows, those with n_w > 0 ("clusters"), and how far the
same computation is off in float32, by array ("off"). The last row's sums of every window are also computed as the loss
that transformers itself returns for labels, with -100 in the place of what was scored before.
"""

import itertools
import json

import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config

from make import HERE, TALES, build, decode, taps

LENGTHS = [2500, 1700, 673, 100]
SETTINGS = [(128, 64), (96, 96)]
SEED = 5
MEASURES = ["loss", "kl", "entropy", "agreement", "settled"]
STATISTICS = [*MEASURES, *(f"{name}_{end}" for name in MEASURES for end in ("low", "high"))]


def tales(dtype):
    config = GPT2Config(**json.loads((TALES / "config.json").read_text()), attn_implementation="eager")
    state = {f"transformer.{k}": v.float() for k, v in load_file(TALES / "model.safetensors").items()}
    return build(config, state, dtype)


def draw(model, n_tokens, first, generator):
    """Texts drawn from the model at once, one for each first token. Shape: [texts, n_tokens]."""
    n_ctx = model.config.n_positions
    texts, cache, n_cached = torch.tensor(first)[:, None], None, 0
    with torch.no_grad():
        while texts.shape[1] < n_tokens:
            if n_cached == n_ctx:
                cache, n_cached = None, 0
            fresh = texts[:, -1:] if cache is not None else texts[:, -(n_ctx // 2) :]
            out = model(fresh, past_key_values=cache, use_cache=True)
            cache, n_cached = out.past_key_values, n_cached + fresh.shape[1]
            chosen = torch.multinomial(out.logits[:, -1].softmax(-1), 1, generator=generator)
            texts = torch.cat([texts, chosen], 1)
    return texts


def common(model, n, generator):
    """Any of the 50 tokens that most probably begin a text."""
    with torch.no_grad():
        best = model(torch.tensor([[model.config.bos_token_id]])).logits[0, -1].topk(50).indices
    return best[torch.randint(50, (n,), generator=generator)].tolist()


def windows_of(n_tokens, window, stride):
    """Start and end of every window, and where its scored positions begin; they end one before its end."""
    start, scored = 0, 0
    while True:
        end = min(start + window, n_tokens)
        yield start, end, max(start, scored)
        if end == n_tokens:
            return
        start, scored = start + stride, end - 1


def check_windows(n_tokens, window, stride):
    """The same from the definition, position by position."""
    starts = range(0, n_tokens, stride)
    needed = next(i for i, start in enumerate(starts) if start + window >= n_tokens) + 1
    seen = set()
    found = list(windows_of(n_tokens, window, stride))
    assert [start for start, _, _ in found] == list(starts)[:needed]
    for start, end, first in found:
        covered = range(start, min(start + window, n_tokens))
        scored = [t for t in covered if t + 1 in covered and t not in seen]
        assert list(range(first, end - 1)) == scored and len(covered) == end - start
        seen.update(scored)


def scores(model, ids):
    """Of every row and every position but the last of a window. Shapes: [N, T - 1] each."""
    rows, _ = taps(model, ids)
    logits = decode(model, rows, "affine").detach()[:, :-1]
    logp = logits.log_softmax(-1)
    following = torch.tensor(ids[1:]).expand(len(rows), -1)
    agrees = logits.argmax(-1) == logits[-1].argmax(-1)
    return {
        "loss": -logp.gather(-1, following[..., None])[..., 0],
        "kl": (logp[-1].exp() * (logp[-1] - logp)).sum(-1),
        "entropy": -(logp.exp() * logp).sum(-1),
        "agreement": agrees.to(logp),
        "settled": agrees.to(logp).flip(0).cumprod(0).flip(0),
    }


def own_loss(model, ids, skip):
    """What transformers says the scored positions lose in all."""
    labels = torch.tensor([[-100] * (skip + 1) + ids[skip + 1 :]])
    with torch.no_grad():
        return model(torch.tensor([ids]), labels=labels).loss.item() * (len(ids) - 1 - skip)


def summarise(model, texts, window, stride, checks):
    """The arrays of a setting, and its counts."""
    sums, counts, n_windows = [], [], 0
    for ids in texts:
        for start, end, first in windows_of(len(ids), window, stride):
            n_windows += 1
            if end - 1 <= first:
                continue
            inside, skip = ids[start:end], first - start
            found = scores(model, inside)
            sums.append({name: value[:, skip:].double().sum(-1) for name, value in found.items()})
            counts.append(end - 1 - first)
            if checks:
                own = own_loss(model, inside, skip)
                assert abs(sums[-1]["loss"][-1].item() - own) < 1e-5 * own, f"{start}: transformers has another loss"
    n, clusters = sum(counts), len(counts)
    out = {name: torch.stack([s[name] for s in sums]).sum(0) / n for name in sums[0]}
    n_w = torch.tensor(counts, dtype=torch.float64)
    for name in MEASURES:
        residuals = torch.stack([s[name] for s in sums]) - n_w[:, None] * out[name]
        se = (clusters / (clusters - 1) * residuals.square().sum(0)).sqrt() / n
        out[f"{name}_low"], out[f"{name}_high"] = out[name] - 1.96 * se, out[name] + 1.96 * se
    return out, dict(n=n, windows=n_windows, clusters=clusters)


def main():
    torch.set_num_threads(1)
    exact, rough = tales(torch.float64), tales(torch.float32)
    generator = torch.Generator().manual_seed(SEED)
    firsts = common(exact, len(LENGTHS), generator)
    texts = [draw(exact, n, [first], generator)[0].tolist() for n, first in zip(LENGTHS, firsts)]
    values, off, counts = {}, {}, {}
    for (window, stride), which in itertools.product(SETTINGS, ["", "short_"]):
        key = f"{which}{window}_{stride}"
        of = texts[2:] if which else texts
        for n in [*LENGTHS, *range(1, 4 * window)]:
            check_windows(n, window, stride)
        found, counts[key] = summarise(exact, of, window, stride, True)
        near, same = summarise(rough, of, window, stride, False)
        assert same == counts[key] and list(found) == STATISTICS
        assert found["kl"][-1] == 0 and found["agreement"][-1] == found["settled"][-1] == 1
        assert (found["settled"] <= found["agreement"]).all() and (found["settled"].diff() >= 0).all()
        for name, value in found.items():
            values[f"{key}/{name}"] = value.to(torch.float32)
            off[f"{key}/{name}"] = (value - near[name]).abs().max().item()
        print(key, counts[key])
        for name, value in found.items():
            print(f"  {name:14}", *(f"{v:8.4f}" for v in value.tolist()), f"  off by {off[f'{key}/{name}']:.1e}")
    info = dict(
        text=None, texts=texts, rows=["input", *(f"h.{i}" for i in range(exact.config.n_layer))],
        settings=SETTINGS, counts=counts, off=off,
    )
    out = HERE / "corpus" / "tales.safetensors"
    out.parent.mkdir(exist_ok=True)
    save_file({key: value.contiguous() for key, value in values.items()}, out, {"info": json.dumps(info)})
    print(len(values), "arrays", out.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
