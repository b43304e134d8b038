"""How many orders to a language model the tripwire names, family by family, and what it flags
of texts that merely talk about prompts, systems, roles and rules.

The texts were written before and apart from the rule. Run it from the project's folder:
``python -m benchmarks.validation.prompts``.
"""

from __future__ import annotations

import sys
import time

import polars as pl

from sluicegate.text.prompts import PromptInjection
from tests.core.prompt_texts import BENIGN, INJECTIONS, POLITE


def main() -> None:
    rule = PromptInjection()
    print(f"{'family':44} found")
    found_in_all = total = 0
    for family, texts in INJECTIONS.items():
        found = sum(bool(rule.marks(text)) for text in texts)
        found_in_all, total = found_in_all + found, total + len(texts)
        print(f"{family:44} {found:3} of {len(texts)}")
    print(f"{'all':44} {found_in_all:3} of {total} ({100 * found_in_all / total:.0f} %)")
    polite = sum(bool(rule.marks(text)) for text in POLITE)
    print(f"{'orders that are polite plain tasks':44} {polite:3} of {len(POLITE)}")
    flagged = [text for text in BENIGN if rule.marks(text)]
    share = 100 * len(flagged) / len(BENIGN)
    name = "false alarms on texts that only talk"
    print(f"{name:44} {len(flagged):3} of {len(BENIGN)} ({share:.1f} %)")
    if "--show" in sys.argv:
        for text in flagged:
            print("   flagged:", ascii(text[:160]), [mark.detail for mark in rule.marks(text)])
        for family, texts in INJECTIONS.items():
            for text in texts:
                if not rule.marks(text):
                    print("   missed:", family, ascii(text[:160]))
    frame = pl.DataFrame({"text": BENIGN * 50})
    size = sum(map(len, BENIGN)) * 50
    started = time.process_time()
    suspects = frame.select(rule.suspects(pl.col("text")))["text"]
    filtered = time.process_time() - started
    started = time.process_time()
    for text in BENIGN:
        rule.marks(text)
    judged = time.process_time() - started
    through = 100 * suspects.sum() / len(suspects)
    print(f"filter {size / filtered / 1e6:.1f} MB/s, lets through {through:.0f} % of such texts")
    print(f"judge {sum(map(len, BENIGN)) / judged / 1e6:.2f} MB/s")


if __name__ == "__main__":
    main()
