"""A project with a model in some versions, a vault, and keys for gates and for heads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from sluicegate.evidence import ReceiptRef
from sluicegate.gate import GateOutcome, run_gate
from sluicegate.model import Check, Finding, Report, RunIdentity
from sluicegate.policy.load import load_policy
from sluicegate.receipts.keys import FileSigner, new_key_pair
from sluicegate.receipts.statement import HeadStatement, Subject
from sluicegate.serving import Served, current, list_heads, promote, roll_back
from sluicegate.signing import attest, default_key_path, open_evidence
from sluicegate.stages.backup import BackUpModel
from sluicegate.stages.base import Context
from sluicegate.storage.snapshot import Snapshot, take_snapshot
from sluicegate.storage.uri import SubjectUri
from sluicegate.storage.vault import Vault, open_vault

__all__ = ["BUILT_IN", "MODEL", "LookAtModel", "ServingScene"]

MODEL = "churn"
BUILT_IN = {
    "look-at-model": "tests.serving_scenes:LookAtModel",
    "back-up-model": "sluicegate.stages.backup:BackUpModel",
}
"""What a test adds to the registry of stages."""
POLICY = """\
version: 1
evidence: evidence
purposes:
  deploy:
    stages: [look-at-model]
keys:
  - name: gates
    file: keys/gates.pub.pem
    stages: ["*"]
  - name: heads
    file: keys/heads.pub.pem
    stages: [head, event]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAtModel:
    """Refuse models that hold a certain word."""

    name: ClassVar[str] = "look-at-model"
    version: ClassVar[str] = "1"
    hereditary: ClassVar[bool] = False

    def run(self, snapshot: Snapshot, context: Context) -> Report:
        bad = []
        for file in snapshot.manifest.files:
            with snapshot.open(file.path) as source:
                if b"evil" in source.read():
                    bad.append(file.path)
        if bad:
            finding = Finding(message="evil", files=tuple(bad))
            return Report(checks=(Check.failed("toy.evil", [finding]),))
        return Report(checks=(Check.passed("toy.evil"),))


@dataclass(frozen=True)
class ServingScene:
    """A project folder."""

    folder: Path
    gates: FileSigner
    heads: FileSigner
    place: str
    """Where the vault lies."""

    @classmethod
    def new(cls, folder: Path, place: str | None = None) -> ServingScene:
        """Write policy and keys."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "policy.yaml").write_text(POLICY)
        keys = folder / "keys"
        gates = new_key_pair(default_key_path(folder / "evidence"), keys / "gates.pub.pem")
        heads = new_key_pair(folder / "heads.key.pem", keys / "heads.pub.pem")
        return cls(folder, gates, heads, place or str(folder / "vault"))

    @property
    def policy(self) -> Path:
        return self.folder / "policy.yaml"

    @property
    def vault(self) -> Vault:
        return open_vault(self.place)

    @property
    def lock(self) -> str:
        return "COMPLIANCE" if self.place.startswith("s3://") else "none"

    def model(self, version: str, content: str | None = None) -> Path:
        """Write a model of three files, one of them empty and one in a folder."""
        folder = self.folder / "models" / version
        (folder / "tokens").mkdir(parents=True, exist_ok=True)
        (folder / "weights.bin").write_text(content or f"weights of {version}\n" * 1000)
        (folder / "tokens" / "vocabulary.txt").write_text("the same in all versions\n")
        (folder / "empty").touch()
        return folder

    def stage(self, version: str, **options: object) -> BackUpModel:
        values = {"vault": self.place, "model": MODEL, "lock": self.lock, "retain_days": 30}
        return BackUpModel(**values, model_version=version, **options)  # type: ignore[arg-type]

    def back_up(self, version: str, content: str | None = None) -> GateOutcome:
        """Pass a new version through its gates, the backup last."""
        folder = self.model(version, content)
        run_gate(LookAtModel(), folder, self.policy, signer=self.gates)
        outcome = run_gate(self.stage(version), folder, self.policy, signer=self.gates)
        outcome.clear_or_raise()
        return outcome

    def promote(self, version: str, **options: object) -> Served:
        values: dict[str, object] = {"signer": self.heads, "reason": "test"} | options
        return promote(MODEL, version, self.policy, **values)  # type: ignore[arg-type]

    def roll_back(self, **options: object) -> Served:
        values: dict[str, object] = {"signer": self.heads, "reason": "test"} | options
        return roll_back(MODEL, self.policy, **values)  # type: ignore[arg-type]

    def current(self, **options: object) -> Served:
        return current(MODEL, self.policy, **options)  # type: ignore[arg-type]

    def release(self, *versions: str) -> None:
        """Back up and promote versions, one after the other."""
        for version in versions:
            self.back_up(version)
            self.promote(version)

    def rotate(self) -> FileSigner:
        """Let the key for heads expire; return the one that comes after it."""
        after = new_key_pair(self.folder / "heads2.key.pem", self.folder / "keys/heads2.pub.pem")
        text = self.policy.read_text().replace(
            "[head, event]", "[head, event]\n    not_after: 2026-01-01"
        )
        more = "  - {name: heads2, file: keys/heads2.pub.pem, stages: [head, event]}\n"
        self.policy.write_text(text + more)
        return after

    def redirect(self, version: str, to: str) -> Path:
        """Log a head by the expired key, by which a version is another one in another vault."""
        snapshot = take_snapshot(SubjectUri.parse(self.folder / "models" / to))
        vault = open_vault(str(self.folder / "attacker"))
        for record in snapshot.manifest.files:
            with snapshot.open(record.path) as source:
                vault.put_blob(record, source)
        vault.put_manifest(MODEL, version, snapshot.manifest)
        last = list_heads(MODEL, self.policy).newest
        subject = replace(Subject.of(snapshot), uri=str(vault.version_uri(MODEL, version)))
        statement = HeadStatement(
            subject=subject,
            model=MODEL,
            version=version,
            action="promote",
            epoch=last.says.epoch + 1 if last else 1,
            previous=last.digest if last else None,
            issued=datetime(2025, 6, 1, tzinfo=UTC),
            run=self.run(),
            invocation="redirect",
        )
        self.log(statement)
        return self.folder / "attacker"

    def log(self, statement: HeadStatement, signer: FileSigner | None = None) -> ReceiptRef:
        """Log a head as an attacker with a key could, past all checks."""
        evidence = open_evidence(load_policy(self.policy), write=True)
        return attest(statement, evidence, signer or self.heads)

    def run(self) -> RunIdentity:
        return RunIdentity(orchestrator="cli")
