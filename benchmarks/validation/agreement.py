"""How often the scan answers, and how often as Great Expectations does.

Run from the root of the repository::

    python -m benchmarks.validation.agreement --generated 100
    python -m benchmarks.validation.agreement --record   # ask GX about the whole corpus again

The corpus is the one of the tests, with the answers that Great Expectations gave when it was
recorded. Generated questions are asked of both, now. "Agrees" means: the same verdict, counts,
reasons, observed value and positions of rows.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings

from sluicegate.stages.validation.answers import GX, Answer
from tests.core.claim_cases import (
    as_parquet,
    case_key,
    corpus_table,
    differences,
    held_out,
    parsed,
    questions,
    record,
    recorded,
    reference,
    scanned,
)

CORE_TYPES = 59

Tally = dict[str, Counter[str]]


def judge(expected: Answer, got: Answer | None) -> str:
    """Return what became of one question."""
    failed = expected.success is None and expected.engine == GX
    if got is None:
        return "left, GX fails" if failed else "left"
    same_rows = got.success is not False or got.positions == expected.positions
    return "agrees" if not differences(expected, got) and same_rows else "differs"


def corpus() -> tuple[Tally, Tally]:
    """Return what became of the recorded questions: by type, and by half."""
    cases = recorded()
    answers = {case_key(case["type"], case["kwargs"]): answer for case, answer in cases}
    entries = [{"type": case["type"], "kwargs": case["kwargs"], "meta": {}} for case, _ in cases]
    expectations = parsed(entries)
    with tempfile.TemporaryDirectory() as folder:
        outcome = scanned(Path(folder), as_parquet(corpus_table()), expectations)
    tally: Tally = defaultdict(Counter)
    halves: Tally = defaultdict(Counter)
    for one in expectations:
        key = case_key(one.type, dict(one.kwargs))
        what = judge(answers[key], outcome.answers.get(one.index))
        tally[one.type][what] += 1
        halves["held out" if held_out(key) else "development"][what] += 1
    return tally, halves


def generated(examples: int) -> Tally:
    """Return what became of generated questions, by type."""
    tally: Tally = defaultdict(Counter)

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(questions())
    def ask(drawn: tuple[Any, list[dict[str, Any]]]) -> None:
        table, entries = drawn
        expectations = parsed(entries)
        if not expectations:
            return
        data = as_parquet(table)
        expected = reference(data, expectations)
        with tempfile.TemporaryDirectory() as folder:
            outcome = scanned(Path(folder), data, expectations, batch_rows=4)
        for one in expectations:
            what = judge(expected[one.index], outcome.answers.get(one.index))
            tally[one.type][what] += 1
            if what == "differs":
                found = differences(expected[one.index], outcome.answers[one.index])
                print("DIFFERS", one.type, dict(one.kwargs), found, table.to_pydict())

    ask()
    return tally


def show(title: str, tally: Tally) -> None:
    """Print a tally, and what it comes to."""
    total: Counter[str] = sum(tally.values(), Counter())
    print(f"\n{title}: {sum(total.values())} questions: {dict(total)}")
    for kind, found in sorted(tally.items()):
        claimed = found["agrees"] + found["differs"]
        answerable = claimed + found["left"]
        share = claimed / answerable if answerable else 0.0
        print(f"  {kind:58} claimed {claimed:4} of {answerable:4} ({share:4.0%}), "
              f"agrees {found['agrees']:4}, GX fails {found['left, GX fails']:3}")  # fmt: skip
    types = [kind for kind, found in tally.items() if found["agrees"]]
    print(f"  types with claims: {len(types)} of {CORE_TYPES} core types")


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--generated", type=int, default=0, help="tables to generate")
    arguments.add_argument("--record", action="store_true", help="ask GX about the corpus again")
    options = arguments.parse_args()
    if options.record:
        print(f"recorded {record()} answers")
    tally, halves = corpus()
    show("corpus", tally)
    for half, found in halves.items():
        print(f"  {half}: {dict(found)}")
    if options.generated:
        show("generated", generated(options.generated))


if __name__ == "__main__":
    main()
