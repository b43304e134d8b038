"""The pipelines of the demo: the example files, run by the installed orchestrators.

Each works in a folder of its own, as an attacker with an operator's rights would find it:
the API and the storage are theirs, the signing key is not.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final

from sluicegate.canonical import parse_json
from sluicegate.clearance import open_cleared
from sluicegate.errors import ClearanceRefused, SluicegateError
from sluicegate.evidence import Evidence
from sluicegate.ledger.folder import FolderLedger
from sluicegate.ledger.keys import new_note_key
from sluicegate.policy.load import POLICY_VARIABLE, load_policy
from sluicegate.receipts.keys import new_key_pair
from sluicegate.signing import default_key_path, default_ledger_key_path, open_evidence

__all__ = [
    "AirflowPipeline",
    "Pipeline",
    "PrefectPipeline",
    "altered",
    "forge_verdict",
    "rewritten_ledger",
]


_STEP_SECONDS: Final = 300
_PARTS: Final = ("ingest", "train")
_AIRFLOW_DAGS_TEST: Final = """
import json, sys
from airflow.__main__ import main
for run in json.loads(sys.argv[1]):
    sys.argv = ["airflow", "dags", "test", *run]
    main()
"""


class Pipeline(ABC):
    """One orchestrator's run: its folder, what it printed, and what went wrong."""

    name: ClassVar[str]
    rules: ClassVar[str] = "policy.yaml"
    """The policy among the examples."""
    attacked: ClassVar[str] = "four"
    """How many attacks there are, in a word."""

    def __init__(self, folder: Path, examples: Path) -> None:
        """Set up a project in ``folder`` with the policy of the examples and a new key."""
        self.folder = folder
        self.examples = examples
        self.failures: list[str] = []
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._finished = False
        (folder / "logs").mkdir(parents=True)
        shutil.copy(examples / self.rules, folder / "policy.yaml")
        shutil.copy(examples / "digits.suite.json", folder)
        evidence, keys = folder / ".sluicegate", folder / "keys"
        new_key_pair(default_key_path(evidence), keys / "gates.pub.pem")
        new_note_key(
            default_ledger_key_path(evidence), keys / "ledger.vkey", name="digits.example/ledger"
        )

    def run(self) -> None:
        """Run everything; whatever goes wrong is a failure of the demo."""
        try:
            self.arrive()
            self.pipelines()
            self.say(f"\n{self.name}: {self.attacked} attacks on the pipeline itself")
            self.attacks()
        except (SluicegateError, subprocess.TimeoutExpired) as error:
            self.fail(f"{self.name}: {error}")
        finally:
            with self._changed:
                self._finished = True
                self._changed.notify_all()

    @abstractmethod
    def pipelines(self) -> None:
        """Run the plain pipeline and the secured one, and compare what they trained."""

    @abstractmethod
    def attacks(self) -> None:
        """Attack the secured pipeline."""

    def environment(self) -> dict[str, str]:
        """Return what the orchestrators need: their own folders, and no telemetry."""
        return {
            **os.environ,
            POLICY_VARIABLE: str(self.policy),
            "DIGITS_DIR": str(self.data),
            "PYTHONPATH": str(self.examples),
            "AIRFLOW_HOME": str(self.folder / "home"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.examples / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "PREFECT_HOME": str(self.folder / "home"),
            "PREFECT_LOCAL_STORAGE_PATH": str(self.folder / "home" / "storage"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
            "DO_NOT_TRACK": "1",
            "OMP_NUM_THREADS": "1",  # the pipelines share the cores
        }

    @property
    def data(self) -> Path:
        """Where the examples keep data and metrics."""
        return self.folder / "data"

    @property
    def raw(self) -> Path:
        """The poisoned delivery."""
        return self.data / "raw" / "digits.parquet"

    @property
    def policy(self) -> Path:
        """The policy file."""
        return self.folder / "policy.yaml"

    @property
    def evidence(self) -> Evidence:
        """The evidence folder."""
        return open_evidence(load_policy(self.policy))

    def arrive(self) -> None:
        """Receive the data; it may not be trained on as it arrived."""
        self.say(f"\n{self.name}: poisoned digits arrive")
        receive = "import digits; digits.receive(digits.folder() / 'raw' / 'digits.parquet')"
        self.command("receive", [sys.executable, "-c", receive])
        self.say(f"  {self.raw}")
        try:
            open_cleared(self.raw, purpose="train", policy=self.policy)
        except ClearanceRefused as refusal:
            self.judge("Train on it as it is.", refusal.what)
        else:
            self.judge("Train on it as it is.", "")

    def compare(self) -> None:
        """Show both models; the gates must have removed the backdoor."""
        before, after = self.metrics("plain"), self.metrics("secured")
        self.say(f"  {'':<16}{'rows':>8}{'accuracy':>12}{'attack success':>18}")
        for name, row in (("without gates", before), ("with gates", after)):
            self.say(
                f"  {name:<16}{row['rows']:>8.0f}{row['accuracy']:>12.1%}"
                f"{row['attack_success']:>18.1%}"
            )
        if after["attack_success"] >= before["attack_success"] / 2:
            self.fail(f"{self.name}: the backdoor survived the gates")

    def judge(self, attack: str, reason: str) -> None:
        """Show whether an attack was refused, and why; no reason means that it was not."""
        if reason:
            self.say(f"  refused   {attack}\n            {reason}")
        else:
            self.fail(f"{self.name}: not refused: {attack} See {self.folder / 'logs'}")

    def metrics_path(self, kind: str) -> Path:
        """Return where a training run of the examples leaves its metrics."""
        return self.data / f"{self.name.lower()}_{kind}.json"

    def metrics(self, kind: str) -> dict[str, float]:
        """Read what a training run measured.

        Raises:
            SluicegateError: it did not train.
        """
        path = self.metrics_path(kind)
        if not path.exists():
            raise SluicegateError(
                f"the {kind} pipeline left no metrics", next_step=f"see {self.folder / 'logs'}"
            )
        return {str(key): float(value) for key, value in json.loads(path.read_text()).items()}

    def command(self, log: str, arguments: list[str], *, check: bool = True) -> tuple[int, str]:
        """Run a command with its output in a log; return exit code and output.

        Raises:
            SluicegateError: it failed, and ``check`` is set.
        """
        path = self.folder / "logs" / f"{log}.log"
        with path.open("wb") as out:
            code = subprocess.run(  # noqa: S603  our own interpreter and arguments
                arguments,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self.environment(),
                check=False,
                timeout=_STEP_SECONDS,
            ).returncode
        if check and code:
            raise SluicegateError(f"{log} ended with {code}", next_step=f"see {path}")
        return code, path.read_text(errors="replace")

    def reports(self) -> Iterator[tuple[str, Path]]:
        """Yield the stage and the page of each report, oldest first."""
        pages = (self.folder / ".sluicegate" / "reports").glob("*.html")
        for page in sorted(pages, key=lambda path: path.stat().st_mtime):
            yield parse_json(page.with_suffix(".json").read_bytes())["stage"], page

    def say(self, text: str) -> None:
        """Add to what this pipeline prints."""
        with self._changed:
            self._lines.append(text)
            self._changed.notify_all()

    def fail(self, what: str) -> None:
        """Remember what went wrong; the demo goes on and fails at its end."""
        self.failures.append(what)
        self.say(f"  FAILED    {what}")

    def show(self) -> None:
        """Print everything, waiting for what is still to come."""
        shown = 0
        while True:
            with self._changed:
                while not self._finished and len(self._lines) == shown:
                    self._changed.wait()
                fresh, finished = self._lines[shown:], self._finished
            for line in fresh:
                print(line, flush=True)
            shown += len(fresh)
            if finished and shown == len(self._lines):
                return


class AirflowPipeline(Pipeline):
    """The example DAGs, by the installed Airflow on a database of its own."""

    name = "Airflow"

    def pipelines(self) -> None:
        """Run both pairs of DAGs."""
        self.command("migrate", [sys.executable, "-m", "airflow", "db", "migrate"])
        self.test_dags(
            "pipelines",
            *([f"digits_{part}_{kind}"] for kind in ("plain", "secured") for part in _PARTS),
        )
        self.compare()

    def attacks(self) -> None:
        """Attack what the last ingestion left, and last the ingestion itself."""
        *_, (ref, _) = self.evidence.receipts()
        with altered(self.evidence.receipt_path(ref.digest), forge_verdict):
            self.expect_no_training("Rewrite the verdict in a receipt's file.", "edited")
        (cleared,) = (self.folder / ".sluicegate/quarantine").glob("*/remainder/*.parquet")
        with altered(cleared, lambda _: self.raw.read_bytes()):
            self.expect_no_training("Put the poisoned file where the cleared one lies.", "swapped")
        with rewritten_ledger(self.evidence):
            attack = "Replace the ledger by one of the attacker's making."
            self.expect_no_training(attack, "rewritten")
        by_hand = ["digits_ingest_secured", "--mark-success-pattern", r"secure\..*"]
        self.expect_no_training("Mark the gates successful by hand.", "marked", by_hand)

    def expect_no_training(self, attack: str, log: str, *before: list[str]) -> None:
        """Run the training DAG, after what prepares the attack; it must not train."""
        metrics = self.metrics_path("secured")
        metrics.unlink(missing_ok=True)
        code, output = self.test_dags(log, *before, ["digits_train_secured"], check=False)
        self.judge(attack, _refusal(output) if code and not metrics.exists() else "")

    def test_dags(self, log: str, *runs: list[str], check: bool = True) -> tuple[int, str]:
        """Call ``airflow dags test`` with each list of arguments; return code and output.

        All in one process: starting Airflow takes longer than most of these runs.
        """
        command = [sys.executable, "-c", _AIRFLOW_DAGS_TEST, json.dumps(runs)]
        return self.command(log, command, check=check)


class PrefectPipeline(Pipeline):
    """The example flows, by the installed Prefect on a server of its own."""

    name = "Prefect"

    def pipelines(self) -> None:
        """Run both flows."""
        for kind in ("plain", "secured"):
            self.flow(f"digits_{kind}")
        self.compare()

    def attacks(self) -> None:
        """Run the attacks of the example, which print what became of them."""
        _, output = self.flow("attacks", check=False)
        results = [json.loads(line) for line in output.splitlines() if line.startswith('{"attack"')]
        for result in results:
            self.judge(result["attack"], result["reason"] if result["refused"] else "")
        if len(results) != 4:
            self.judge("Run the attacks.", "")

    def flow(self, name: str, *, check: bool = True) -> tuple[int, str]:
        """Run an example file; return exit code and output."""
        script = self.examples / "prefect" / f"{name}.py"
        return self.command(name, [sys.executable, str(script)], check=check)


def _refusal(log: str) -> str:
    """Return the line of a log that says why something was refused."""
    marks = ("ClearanceRefused: ", "AirflowFailException: ", "LedgerError: ")
    for line in reversed(log.splitlines()):
        for mark in marks:
            if mark in line:
                return line.partition(mark)[2].strip()
    return ""


def forge_verdict(bundle: bytes) -> bytes:
    """Return a receipt whose verdict was rewritten, under the old signature."""
    value: Mapping[str, dict[str, str]] = json.loads(bundle)
    envelope = value["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    if b'"FAILED"' in payload:
        payload = payload.replace(b'"FAILED"', b'"PASSED"').replace(b'"quarantine"', b'"allow"')
    else:
        payload = payload.replace(b'"PASSED"', b'"WARNED"').replace(b'"allow"', b'"warn"')
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


@contextmanager
def rewritten_ledger(evidence: Evidence) -> Iterator[None]:
    """Put a ledger of an attacker's making in the place of the real one for a while.

    It holds the same receipts, unchanged, and is sound in itself: from here on the attacker
    could leave out whatever they like. What they lack is the key of the ledger; they sign with
    one of their own under its name.
    """
    ledger = evidence.folder / "ledger"
    honest, forged = ledger.with_name("honest"), ledger.with_name("forged")
    origin = evidence.settings.origin if evidence.settings else ""
    key = new_note_key(forged.with_suffix(".pem"), forged.with_suffix(".vkey"), name=origin)
    receipts = [bundle for _, bundle in evidence.receipts()]
    FolderLedger(forged, origin=origin, signer=key).append_many(receipts)
    ledger.rename(honest)
    forged.rename(ledger)
    try:
        yield
    finally:
        shutil.rmtree(ledger)
        honest.rename(ledger)
