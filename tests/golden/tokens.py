"""Makes tests/golden/gpt2_tokens.json: the ids that Hugging Face transformers gives texts with GPT-2's tokenizer.

    python tests/golden/tokens.py ../shared/gpt2-small/tokenizer.json

The tokenizer itself is not ours and not committed; what it says of these texts is. "table" is the SHA-256 over the
bytes of every token in the order of the ids, each behind its length as a little-endian u32.
"""

import hashlib
import json
import struct
import sys
from pathlib import Path

from transformers import GPT2TokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

TEXTS = [
    "Hello world",
    "They'll say we've 'd it's I'm you're DON'T can't I'LL",
    "It’s o'clock, rock'n'roll ''s '' ' s",
    "  two   three    four     five",
    " leading and trailing ",
    "\n",
    "one\ntwo\n\nthree\r\nfour\n \n  five\t\ttab\t x",
    "a\u00a0b\u2003c\u3000d\u200be",
    "🦊👩‍👩‍👧‍👦🏳️‍🌈 ✨🇩🇪 ☕️",
    "東京は日本の首都です。 한국어 中文，标点",
    "e\u0301 vs é, n\u0303o, \u0915\u094d\u0937 नमस्ते",
    "שלום مرحبا Привет Ελληνικά",
    "<|endoftext|>",
    "before<|endoftext|>after <|endoftext|> <|endoftext|",
    "\u0000\u0001\u001f\u007f\u0085\ufeff",
    "1234567890 3.14159 1,000,000 x86_64 C++ #!/bin/sh",
    "SolidGoldMagikarp petertodd  PsyNetMessage",
    "ÃÂ ãĥ¼ãĥĨ Ġ Ċ Ā ÿ",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "ﬁ ﬀ ½ ² Å Å Ⅳ",
    "\U0001f9ff\U00010348\U0002070e",
]


def main():
    tokenizer = GPT2TokenizerFast(tokenizer_file=sys.argv[1])
    to_byte = {c: b for b, c in bytes_to_unicode().items()}
    added = set(tokenizer.get_added_vocab().values())
    table = hashlib.sha256()
    for i in range(len(tokenizer)):
        entry = tokenizer.convert_ids_to_tokens(i)
        token = entry.encode() if i in added else bytes(to_byte[c] for c in entry)
        table.update(struct.pack("<I", len(token)) + token)
    cases = [{"text": text, "ids": tokenizer(text)["input_ids"]} for text in TEXTS]
    lines = ",\n".join("  " + json.dumps(case) for case in cases)
    out = Path(__file__).parent / "gpt2_tokens.json"
    out.write_text(f'{{\n "n_tokens": {len(tokenizer)},\n "table": "{table.hexdigest()}",\n "cases": [\n{lines}\n ]\n}}\n')


main()
