"""``sluicegate demo``: poisoned digits through secured pipelines, and three attacks.

Nothing is staged. The data is real, the poison is real, the orchestrators are the installed
ones and run the example files; every number printed was measured in this run.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sluicegate.canonical import parse_json
from sluicegate.clearance import open_cleared
from sluicegate.cli.terminal import NOT_CLEARED, PASSED
from sluicegate.errors import ClearanceRefused, ConfigurationError, SluicegateError
from sluicegate.evidence import Evidence
from sluicegate.gate import default_key_path
from sluicegate.policy.load import POLICY_VARIABLE, load_policy
from sluicegate.receipts.keys import new_key_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["add_demo", "altered", "forge_verdict"]

_MARKER: Final = ".sluicegate-demo"
_STEP_SECONDS: Final = 150
_ORCHESTRATORS: Final = ("airflow", "prefect")


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
        "--only", choices=_ORCHESTRATORS, help="one orchestrator instead of all that are installed"
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    chosen = [args.only] if args.only else [name for name in _ORCHESTRATORS if find_spec(name)]
    if not chosen or not all(find_spec(name) for name in chosen):
        raise ConfigurationError(
            f"{args.only or 'no orchestrator'} is not installed",
            next_step='pip install "sluicegate[all]"',
        )
    started = time.monotonic()
    demo = _Demo(_prepare(Path(args.folder).resolve()), _examples())
    demo.raw_is_refused()
    if "airflow" in chosen:
        demo.run_airflow()
    if "prefect" in chosen:
        demo.run_prefect()
    return demo.finish(time.monotonic() - started)


def _examples() -> Path:
    """Return the folder of the example pipelines, in a checkout or in an installation."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "examples", package.parents[1] / "example_dags"):
        if (folder / "digits.py").exists():
            return folder
    raise ConfigurationError("the example pipelines are not part of this installation")


def _prepare(folder: Path) -> Path:
    if folder.exists():
        if not (folder / _MARKER).exists():
            raise ConfigurationError(
                f"{folder} exists and was not made by a demo", next_step="name another --folder"
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / _MARKER).touch()
    return folder


@dataclass
class _Demo:
    """One run of the demo: its folder, and what has been found so far."""

    folder: Path
    examples: Path
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("policy.yaml", "digits.suite.json"):
            shutil.copy(self.examples / name, self.folder / name)
        new_key_pair(
            default_key_path(self.folder / ".sluicegate"), self.folder / "keys" / "gates.pub.pem"
        )
        (self.folder / "logs").mkdir()
        os.environ.update(self.environment())

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def policy(self) -> Path:
        return self.folder / "policy.yaml"

    def environment(self) -> dict[str, str]:
        """Return what the orchestrators need: their own folders, no network, no telemetry."""
        return {
            POLICY_VARIABLE: str(self.policy),
            "DIGITS_DIR": str(self.data),
            "PYTHONPATH": str(self.examples),
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.examples / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_LOCAL_STORAGE_PATH": str(self.folder / "prefect" / "storage"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
            "DO_NOT_TRACK": "1",
        }

    def raw_is_refused(self) -> None:
        """Receive the data; it may not be trained on as it arrived."""
        _title("Poisoned digits arrive")
        raw = self.data / "raw" / "digits.parquet"
        receive = "import digits; digits.receive(digits.folder() / 'raw' / 'digits.parquet')"
        self.command("receive", [sys.executable, "-c", receive])
        print(f"  {raw}")
        with self.expect_refusal("training on it as it is"):
            open_cleared(raw, purpose="train", policy=self.policy)

    def run_airflow(self) -> None:
        """Run both pairs of DAGs, then attack the secured one."""
        _title("Airflow: without gates")
        self.airflow("db", "migrate", log="airflow-migrate")
        self.dag("digits_ingest_plain")
        self.dag("digits_train_plain")
        before = self.metrics("airflow_plain")
        _title("Airflow: with gates")
        self.dag("digits_ingest_secured")
        self.dag("digits_train_secured")
        self.compare(before, self.metrics("airflow_secured"))
        _title("Airflow: three attacks on the pipeline itself")
        self.attack_edited_receipt()
        self.attack_changed_data()
        self.attack_marked_success()

    def run_prefect(self) -> None:
        """Run both flows, then train on what was not cleared."""
        _title("Prefect: without gates")
        self.flow("digits_plain")
        before = self.metrics("prefect_plain")
        _title("Prefect: with gates")
        self.flow("digits_secured")
        self.compare(before, self.metrics("prefect_secured"))
        _title("Prefect: three attacks on the pipeline itself")
        self.run("prefect-attacks", [sys.executable, str(self.examples / "prefect" / "attacks.py")])
        text = (self.folder / "logs" / "prefect-attacks.log").read_text(errors="replace")
        results = [json.loads(line) for line in text.splitlines() if line.startswith('{"attack"')]
        for result in results:
            self.judge(result["attack"], result["reason"] if result["refused"] else "")
        if len(results) != 3:
            self.fail(f"the attacks did not run: see {self.folder}/logs/prefect-attacks.log")

    def attack_marked_success(self) -> None:
        """Mark the gates successful by hand instead of running them."""
        self.dag("digits_ingest_secured", "--mark-success-pattern", r"secure\..*")
        self.expect_no_training("Mark the gates successful by hand.")

    def attack_edited_receipt(self) -> None:
        """Rewrite a verdict in a receipt's file."""
        path = self.newest_receipt()
        with altered(path, forge_verdict):
            self.expect_no_training("Rewrite the verdict in a receipt's file.")

    def attack_changed_data(self) -> None:
        """Swap the cleared file for the poisoned one."""
        raw = (self.data / "raw" / "digits.parquet").read_bytes()
        with altered(self.remainder(), lambda _: raw):
            self.expect_no_training("Put the poisoned file where the cleared one lies.")

    def expect_no_training(self, what: str) -> None:
        """Run the training DAG; it must not train."""
        metrics = self.data / "airflow_secured.json"
        metrics.unlink(missing_ok=True)
        log, code = self.dag_code("digits_train_secured")
        text = (self.folder / "logs" / f"{log}.log").read_text(errors="replace")
        self.judge(what, _refusal(text) if code and not metrics.exists() else "")

    def judge(self, what: str, reason: str) -> None:
        """Print whether an attack was refused, and why; no reason means that it was not."""
        if reason:
            print(f"  refused   {what}\n            {reason}")
        else:
            self.fail(f"{what}: not refused; see {self.folder / 'logs'}")

    def compare(self, before: Mapping[str, float], after: Mapping[str, float]) -> None:
        """Print both models; the gates must have removed the backdoor."""
        print(f"  {'':<16}{'rows':>8}{'accuracy':>12}{'attack success':>18}")
        for name, row in (("without gates", before), ("with gates", after)):
            print(
                f"  {name:<16}{row['rows']:>8.0f}{row['accuracy']:>12.1%}"
                f"{row['attack_success']:>18.1%}"
            )
        if after["attack_success"] >= before["attack_success"] / 2:
            self.fail("the backdoor survived the gates")

    def remainder(self) -> Path:
        """Return the file that the newest derivation left."""
        found = (self.folder / ".sluicegate" / "quarantine").glob("*/remainder/*.parquet")
        return max(found, key=lambda path: path.stat().st_mtime)

    def newest_receipt(self) -> Path:
        """Return the file of the newest receipt."""
        evidence = Evidence(load_policy(self.policy).evidence)
        *_, (ref, _) = evidence.receipts()
        return evidence.receipt_path(ref.digest)

    def metrics(self, name: str) -> dict[str, float]:
        """Read what a training run measured.

        Raises:
            SluicegateError: it did not train.
        """
        path = self.data / f"{name}.json"
        if not path.exists():
            raise SluicegateError(
                f"the training run {name} left no metrics",
                next_step=(f"see the logs in {self.folder / 'logs'}"),
            )
        return {str(key): float(value) for key, value in json.loads(path.read_text()).items()}

    def dag(self, dag_id: str, *options: str) -> None:
        """Run a DAG that must succeed."""
        log, code = self.dag_code(dag_id, *options)
        if code:
            raise SluicegateError(f"{dag_id} failed", next_step=f"see {self.folder}/logs/{log}.log")

    def dag_code(self, dag_id: str, *options: str) -> tuple[str, int]:
        """Run a DAG; return the name of its log and the exit code."""
        number = len(list((self.folder / "logs").iterdir()))
        log = f"{number:02}-{dag_id}"
        return log, self.airflow("dags", "test", dag_id, *options, log=log, check=False)

    def airflow(self, *arguments: str, log: str, check: bool = True) -> int:
        """Run the installed ``airflow`` command."""
        return self.command(log, [sys.executable, "-m", "airflow", *arguments], check=check)

    def flow(self, name: str) -> None:
        """Run a flow that must succeed."""
        script = self.examples / "prefect" / f"{name}.py"
        self.command(f"prefect-{name}", [sys.executable, str(script)])

    def command(self, log: str, arguments: list[str], *, check: bool = True) -> int:
        """Run a command with its output in a log.

        Raises:
            SluicegateError: it failed, and ``check`` is set.
        """
        code = self.run(log, arguments)
        if check and code:
            raise SluicegateError(
                f"{log} ended with {code}", next_step=f"see {self.folder / 'logs' / log}.log"
            )
        return code

    def run(self, log: str, arguments: list[str]) -> int:
        """Run a command; return its exit code."""
        with (self.folder / "logs" / f"{log}.log").open("wb") as out:
            return subprocess.run(  # noqa: S603  our own interpreter and arguments
                arguments,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                check=False,
                timeout=_STEP_SECONDS,
            ).returncode

    @contextmanager
    def expect_refusal(self, what: str) -> Iterator[None]:
        """Expect the block to be refused."""
        try:
            yield
        except ClearanceRefused as refusal:
            print(f"  refused   {what}\n            {refusal.what}")
        else:
            self.fail(f"{what}: not refused")

    def fail(self, what: str) -> None:
        """Remember what went wrong; the demo goes on and fails at its end."""
        self.failures.append(what)
        print(f"  FAILED    {what}")

    def finish(self, seconds: float) -> int:
        """Print where to look."""
        reports = sorted(
            (self.folder / ".sluicegate" / "reports").glob("*.html"),
            key=lambda path: path.stat().st_mtime,
        )
        _title("Look at it")
        for path in reports:
            document: Mapping[str, Any] = parse_json(path.with_suffix(".json").read_bytes())
            print(f"  {document['stage']:<20} {path}")
        print(f"  receipts             {self.folder / '.sluicegate' / 'receipts'}")
        print(f"\n{seconds:.0f} s. " + ("; ".join(self.failures) or "Every attack was refused."))
        return NOT_CLEARED if self.failures else PASSED


def _title(text: str) -> None:
    print(f"\n{text}", flush=True)


def _refusal(log: str) -> str:
    """Return the line of a log that says why something was refused."""
    marks = ("ClearanceRefused: ", "AirflowFailException: ")
    for line in reversed(log.splitlines()):
        for mark in marks:
            if mark in line:
                return line.partition(mark)[2].strip()
    return ""


def forge_verdict(bundle: bytes) -> bytes:
    """Return a receipt whose verdict was rewritten, under the old signature."""
    value = json.loads(bundle)
    envelope = value["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    for old, new in ((b'"FAILED"', b'"PASSED"'), (b'"quarantine"', b'"allow"')):
        payload = payload.replace(old, new)
    envelope["payload"] = base64.b64encode(payload).decode()
    return json.dumps(value).encode()


@contextmanager
def altered(path: Path, change: Callable[[bytes], bytes]) -> Iterator[None]:
    """Change a file for a while."""
    before = path.read_bytes()
    path.write_bytes(change(before))
    try:
        yield
    finally:
        path.write_bytes(before)
