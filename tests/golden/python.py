"""Runs "the same in Python" of the tab of causes on the models of edits.py, against the golden numbers.

    python tests/golden/python.py

The script that the page would show is made by www/causes/python.ts (bundled by rolldown, run by Node.js) for cases of
edits.py whose edits the page can make, and run with the model of the case in place of a downloaded one. Its values of
KL(final ‖ row) must be those of the golden file. Prints how far they are apart; fails above 1e-4.
"""

import json
import subprocess
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors import safe_open

from attribution import load
from make import HERE

ROOT = HERE.parent.parent
FAMILIES = {"gpt2_halves": "gpt2", "neo": "gpt_neo", "ctrl": "ctrl"}
CASES = [
    "tap_cell", "tap_positions", "input_all", "attn_out", "mlp_out_of_attn_out", "tap_of_contribution", "head_all",
    "head_of_block", "heads_zero", "attn_out_zero", "head_mean", "mlp_out_mean", "ln_1", "ln_f", "ln_f_plain",
    "unembed", "unembed_plain", "unembed_none", "embed", "wpe_channel", "wpe_zero", "wpe_smooth", "weights_and_patch",
]


def page_edit(edit):
    """As the page has it: a text in the place of a reading."""
    edit = dict(edit)
    if "from" in edit:
        edit["from"] = {("text" if key == "reading" else key): value for key, value in edit["from"].items()}
    return edit


def scripts(requests):
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "python.mjs"
        entry = ROOT / "www/causes/python.ts"
        subprocess.run(["npx", "--no-install", "rolldown", str(entry), "--file", str(bundle)], cwd=ROOT, check=True,
                       stdout=subprocess.DEVNULL)
        program = f"""
            import {{ editedPythonOf }} from "{bundle}";
            const requests = JSON.parse(await new Response(process.stdin).text());
            const of = (ids, taps, norm) => ({{ tokens: ids.map((id) => ({{ id }})), taps, asked: {{ norm }} }});
            process.stdout.write(JSON.stringify(requests.map(({{ a, b, taps, norm, edits, family }}) =>
                editedPythonOf({{ of: "a", edits }}, {{ a: of(a, taps, norm), b: of(b, taps, norm) }}, "kl_final",
                    {{ family, source: "model" }}))));
        """
        run = subprocess.run(["node", "--input-type=module", "-e", program], input=json.dumps(requests), cwd=ROOT,
                             check=True, capture_output=True, text=True)
    return json.loads(run.stdout)


def main():
    requests, expected = [], []
    for name, family in FAMILIES.items():
        ids, other, build = load(name)
        with safe_open(HERE / "edits" / f"{name}.safetensors", "pt") as file:
            info = json.loads(file.metadata()["info"])
            for case in CASES:
                if case not in info["cases"]:
                    continue
                of = info["cases"][case]
                requests.append(dict(a=ids, b=other, taps=info["rows"][case], norm=of["norm"], family=family,
                                     edits=[page_edit(edit) for edit in of["edits"]]))
                expected.append((f"{name}/{case}", build, file.get_tensor(f"{case}/kl_final")))
    worst = 0.0
    real = transformers.AutoModelForCausalLM.from_pretrained
    for script, (what, build, values) in zip(scripts(requests), expected, strict=True):
        # The same model that the page would have downloaded.
        transformers.AutoModelForCausalLM.from_pretrained = lambda *_, build=build, **__: build(torch.float32)
        names = {"print": lambda *_: None}
        exec(script, names)
        torch.set_default_dtype(torch.float32)
        found = torch.stack(names["found"]).float()
        off = (found - values).abs().max().item()
        assert off < 1e-4, f"{what}: off by {off}"
        worst = max(worst, off)
    transformers.AutoModelForCausalLM.from_pretrained = real
    print(len(expected), "scripts, off by at most", worst)


if __name__ == "__main__":
    main()
