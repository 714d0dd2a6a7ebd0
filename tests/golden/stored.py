"""Writes the reading of *Tales* by transformers that the page's check compares with, beside the model.

Run it from the repository root, after make.py, in an environment with safetensors and numpy:

    python tests/golden/stored.py

It takes what make.py has written for `tales_story`; tests/engine/golden.rs holds the two files together.
"""

import json
from pathlib import Path

from safetensors import safe_open

ROOT = Path(__file__).parent.parent.parent
STATISTICS = ["logsumexp", "entropy", "kl_final", "kl_input", "logit_final", "logprob_input", "logprob_next"]


def main():
    with safe_open(ROOT / "tests/golden/tales_story/expected.safetensors", "np") as file:
        info = json.loads(file.metadata()["info"])
        read = {name: file.get_tensor(f"f16/affine/{name}") for name in STATISTICS}
    # The last position has no next token.
    rounded = lambda value: None if value != value else round(float(value), 6)
    stored = {
        "source": "Hugging Face transformers in float64",
        "text": info["text"],
        "ids": info["ids"],
        "statistics": {name: [rounded(v) for v in values.flatten()] for name, values in read.items()},
    }
    path = ROOT / "www/public/models/tales/reading.json"
    path.write_text(json.dumps(stored, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
