"""What scanning texts costs: each rule, the default pack, all rules, in CPU seconds.

Rows are short (36 characters on average) and of three kinds: plain English; English with
accents, currency and emoji now and then; text in five other scripts. What is measured is the
examination of Arrow batches as they come from a file, without reading it.

    python benchmarks/validation/text.py [MILLIONS] [--file]

With --file, the whole stage also runs on a Parquet file of plain English, reading included.
"""

# ruff: noqa: RUF001, SIM905, SLF001, E501  # the words of the measurement, its inner step

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sluicegate.stages.base import Context
from sluicegate.stages.text import ScanText
from sluicegate.stages.text.stage import _Scan
from sluicegate.storage.batches import Batch
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri
from sluicegate.text import DEFAULT_RULES, RULES, rule

ROWS = 1 << 16
WORDS = (
    "order shipped to the warehouse on monday please call back after lunch invoice paid late "
    "customer asked about delivery return label printed wrong size good quality thanks a lot "
    "description: what is new? it (really) works - 12 items, 3.50 each; ref 2024-118 ok!"
).split()
ACCENTS = "café naïve Zürich 5 € – “quoted” résumé año 👍 élève Åse smørrebrød ¿qué?".split()
OTHERS = (
    "заказ отправлен на склад в понедельник παραγγελία εστάλη στην αποθήκη 注文は倉庫に発送されました "
    "الطلب أرسل إلى المستودع यह सामान गोदाम भेजा गया है"
).split()


def texts(words: list[str], count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        line = chance.choice(words)
        while len(line) < 36 - 4:
            line += " " + chance.choice(words)
        made.append(line)
    return made


def batches(words: list[str], millions: float) -> Iterator[Batch]:
    known = [pa.array(texts(words, ROWS, seed), pa.large_string()) for seed in range(8)]
    done, at = 0, 0
    while done < millions * 1e6:
        data = pa.RecordBatch.from_arrays([known[at % 8]], ["text"])
        yield Batch("a.parquet", done, done, data)
        done, at = done + ROWS, at + 1


def spent(names: tuple[str, ...], words: list[str], millions: float) -> tuple[float, int]:
    rules = tuple(
        rule(name, domains=("example.org",)) if name == "urls" else rule(name) for name in names
    )
    scan = _Scan(rules, ("text",), samples=False)
    made = list(batches(words, min(millions, 8 * ROWS / 1e6)))
    scan.add(made[0])  # compiles the patterns
    start, rounds, rows = time.process_time(), 0, 0
    while rows < millions * 1e6:
        for batch in made:
            scan.add(batch)
            rows += batch.data.num_rows
        rounds += 1
    seconds = time.process_time() - start
    found = sum(tally.row_count for tallies in scan._tallies.values() for tally in tallies)
    return seconds * 1e6 * 10 / rows, found


def whole_stage(millions: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.parquet")
        schema = pa.schema([("text", pa.large_string())])
        with pq.ParquetWriter(path, schema, compression="zstd") as out:
            for batch in batches(WORDS, millions):
                out.write_batch(batch.data.cast(schema))
        start = time.process_time()
        report = ScanText().run(take_snapshot(SubjectUri.parse(str(path))), Context())
        seconds = time.process_time() - start
        assert all(check.outcome.value == "passed" for check in report.checks)
        rows = report.metrics["rows"]
        print(f"whole stage, {rows:,} rows of Parquet: {seconds:.1f} CPU s", end="")
        print(f" = {seconds * 1e7 / rows:.1f} per 10M rows")


def main() -> None:
    plain = [arg for arg in sys.argv[1:] if not arg.startswith("--")]
    millions = float(plain[0]) if plain else 10
    print(f"{millions:g}M rows; CPU seconds per 10M rows (rows with findings)")
    sets = {name: (name,) for name in RULES} | {"default pack": DEFAULT_RULES, "all": RULES}
    print(f"{'':24}{'English':>14}{'accents':>14}{'other scripts':>16}")
    for label, names in sets.items():
        line = f"{label:24}"
        for words in (WORDS, WORDS * 3 + ACCENTS, OTHERS):
            seconds, found = spent(names, words, millions)
            line += f"{seconds:9.1f} ({found})"
        print(line, flush=True)
    if "--file" in sys.argv:
        whole_stage(millions)


if __name__ == "__main__":
    main()
