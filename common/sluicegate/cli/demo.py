"""``sluicegate demo``: poisoned digits through secured pipelines, a bucket, and attacks.

Nothing is staged. The data is real, the poison is real, the orchestrators are the installed
ones and run the example files; every number printed was measured in this run. Only AWS is a
simulation.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from sluicegate.cli.bucket_demo import BucketPipeline
from sluicegate.cli.pipelines import AirflowPipeline, Pipeline, PrefectPipeline
from sluicegate.cli.terminal import NOT_CLEARED, PASSED
from sluicegate.errors import ConfigurationError

__all__ = ["add_demo"]

_MARKER: Final = ".sluicegate-demo"
_PIPELINES: Final[dict[str, tuple[type[Pipeline], str]]] = {
    "airflow": (AirflowPipeline, "airflow"),
    "prefect": (PrefectPipeline, "prefect"),
    "storage": (BucketPipeline, "moto"),
}
"""Parts of the demo, each with the package that it needs."""


def add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "demo",
        help="watch poisoned data meet a secured pipeline, in Airflow and in Prefect",
        description="Real digits arrive poisoned. The example pipelines run in the installed "
        "orchestrators, first plain, then with gates; then the pipeline itself is attacked. "
        "Exits 0 only if every attack was refused.",
    )
    parser.add_argument(
        "--folder", default="sluicegate-demo", help="where to work (default: %(default)s)"
    )
    parser.add_argument(
        "--only", choices=_PIPELINES, help="one part instead of all that can run here"
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    there = [name for name, (_, package) in _PIPELINES.items() if find_spec(package)]
    chosen = [name for name in there if args.only in (None, name)]
    if not chosen:
        raise ConfigurationError(
            f"what {args.only or 'the demo'} needs is not installed",
            next_step='pip install "sluicegate[all]"',
        )
    started, folder, examples = time.monotonic(), _prepare(Path(args.folder)), _examples()
    pipelines = [_PIPELINES[name][0](folder / name, examples) for name in chosen]
    _run_all(pipelines)
    failures = [failure for pipeline in pipelines for failure in pipeline.failures]
    print("\nLook at it")
    for pipeline in pipelines:
        for stage, page in pipeline.reports():
            print(f"  {pipeline.name:<8} {stage:<20} {page}")
    seconds = time.monotonic() - started
    print(f"\n{seconds:.0f} s. " + ("; ".join(failures) or "Every attack was refused."))
    return NOT_CLEARED if failures else PASSED


def _run_all(pipelines: Sequence[Pipeline]) -> None:
    """Run the pipelines side by side; print the first as it goes, the others after it."""
    with ThreadPoolExecutor(len(pipelines)) as pool:
        runs = [pool.submit(pipeline.run) for pipeline in pipelines]
        for pipeline, run in zip(pipelines, runs, strict=True):
            pipeline.show()
            run.result()


def _examples() -> Path:
    """Return the folder of the example pipelines, in a checkout or in an installation."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "examples", package.parents[1] / "example_dags"):
        if (folder / "digits.py").exists():
            return folder
    raise ConfigurationError("the example pipelines are not part of this installation")


def _prepare(folder: Path) -> Path:
    folder = folder.resolve()
    if folder.exists():
        if not (folder / _MARKER).exists():
            raise ConfigurationError(
                f"{folder} exists and was not made by a demo", next_step="name another --folder"
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / _MARKER).touch()
    return folder
