"""Makes tests/golden/ctrl_tokens: what Hugging Face's CTRLTokenizer says of texts with a toy vocabulary.

    python tests/golden/ctrl_tokens.py

CTRL's own vocabulary is large and not ours; this one has the same conventions: merges over characters of which the last
carries </w>, entries that go on marked @@, entries missing for some merges, words of one character, newlines.
"""

import json
from pathlib import Path

from transformers import CTRLTokenizer

HERE = Path(__file__).parent / "ctrl_tokens"
MERGES = [
    "t h", "th e</w>", "i n", "in g</w>", "r e", "re a", "rea d", "read ing</w>", "k ing</w>", "a n", "an d</w>",
    "o l", "ol d</w>", "W i", "Wi k", "s .</w>", "c a", "é e</w>",
]
# Every symbol of these merges but a few, so that some pieces are in the merges and not in the vocabulary.
MISSING = {"rea", "Wi", "ol"}
TEXTS = [
    "the old king and the reading",
    "The king\nreads.\n\nthe end\n",
    "a I x . and",
    "  spaces \t tabs\u00a0hard\u2003em\x1fsep ",
    "Wik rea read reading ol old",
    "caféée née 🦊 东京",
    "the@@ </w> and<unk>the <unk>",
    "ing thing king's",
    "",
]


def main():
    HERE.mkdir(exist_ok=True)
    symbols = {c for c in "abcdefghiklnorstW.IéxT"} | {f"{c}</w>" for c in "abcdefgiknrstx.IT\n"}
    for merge in MERGES:
        symbols |= {merge.replace(" ", ""), *merge.split()}
    entries = sorted(
        s.removesuffix("</w>") if s.endswith("</w>") else f"{s}@@" for s in symbols if s not in MISSING
    )
    vocab = {entry: i for i, entry in enumerate([*dict.fromkeys(entries), "<unk>"])}
    (HERE / "vocab.json").write_text(json.dumps(vocab) + "\n")
    (HERE / "merges.txt").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n")
    tokenizer = CTRLTokenizer(str(HERE / "vocab.json"), str(HERE / "merges.txt"))
    cases = [{"text": t, "ids": tokenizer(t)["input_ids"], "tokens": tokenizer.tokenize(t)} for t in TEXTS]
    (HERE / "expected.json").write_text(json.dumps(cases, indent=1) + "\n")
    for case in cases:
        print(case)


main()
