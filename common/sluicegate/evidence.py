"""The evidence folder: what gates leave for consumers and auditors.

::

    ledger/                           every receipt, in order
    receipts/<sha256>.sigstore.json   each receipt as a file, for other tools
    reports/<sha256>.json  .html      what the stage found
    manifests/<sha256>.ndjson         every file of a subject that is a folder
    policies/<sha256>.json            rules that verdicts were made under
    arrivals/<root>.ndjson            files of a data set that grows, in order of arrival
    quarantine/                       remainders and what was set aside (by default)

Files are named by the digest of their content and written whole or not at all. None of it
is trusted when it is read back: signatures and digests are checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sluicegate.canonical import Digest
from sluicegate.errors import LedgerError, ReceiptError
from sluicegate.ledger.base import Ledger
from sluicegate.ledger.note import NoteSigner
from sluicegate.ledger.open import open_ledger
from sluicegate.ledger.settings import LedgerSettings
from sluicegate.ledger.trust import believe
from sluicegate.storage.local import open_plain, write_atomically
from sluicegate.storage.uri import SubjectUri

__all__ = ["Evidence", "ReceiptRef"]


@dataclass(frozen=True, slots=True, order=True)
class ReceiptRef:
    """Which receipt: where it stands in the ledger, and the digest of its bytes."""

    index: int
    digest: Digest


@dataclass(frozen=True)
class Evidence:
    """An evidence folder."""

    folder: Path
    settings: LedgerSettings | None = None
    """Where the ledger is, if not unsigned in this folder."""
    signer: NoteSigner | None = None
    """Signs the ledger's checkpoints; only who logs something needs it."""

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger of receipts, opened once: appends of threads that share it are grouped."""
        here = SubjectUri.parse(self.folder / "ledger")
        return open_ledger(self.settings or LedgerSettings(location=here), self.signer)

    def receipt_path(self, digest: Digest) -> Path:
        """Return where a receipt's file lies."""
        return self.folder / "receipts" / f"{digest.hex}.sigstore.json"

    def report_path(self, digest: Digest, *, suffix: str = ".json") -> Path:
        """Return where a report lies; ``.html`` for the page."""
        return self.folder / "reports" / f"{digest.hex}{suffix}"

    def manifest_path(self, digest: Digest) -> Path:
        """Return where the manifest of a folder lies, by its own SHA-256."""
        return self.folder / "manifests" / f"{digest.hex}.ndjson"

    def rules_path(self, digest: Digest) -> Path:
        """Return where the rules of a policy lie, by the digest that verdicts name."""
        return self.folder / "policies" / f"{digest.hex}.json"

    def arrivals_path(self, root: Digest) -> Path:
        """Return where the list of files in their order of arrival lies, by its tree's root."""
        return self.folder / "arrivals" / f"{root.hex}.ndjson"

    def log(self, bundle: bytes) -> ReceiptRef:
        """Store a receipt; when this returns it is durable and in the ledger.

        Raises:
            LedgerError: the ledger is damaged or cannot be written.
        """
        digest = Digest.of(bundle)
        self._must_continue()
        self.write(self.receipt_path(digest), bundle)
        return ReceiptRef(self.ledger.append(bundle), digest)

    def _must_continue(self) -> None:
        """Refuse to extend a ledger that was put back, where the policy remembers it.

        Two histories under one signature would prove to every witness that this log lies.
        """
        if self.settings is not None and self.settings.remember is not None:
            believe(self.ledger, self.settings)

    def write(self, path: Path, content: bytes) -> None:
        """Write one file of evidence, unless it is there already.

        Raises:
            LedgerError: the folder cannot be written.
        """
        try:
            if not path.exists() or _read(path, len(content)) != content:
                write_atomically(path, content)
        except OSError as error:
            raise LedgerError(
                f"cannot write evidence to {self.folder}: {error.strerror}",
                next_step="check permissions and free space; nothing was cleared",
            ) from error

    def receipt(self, ref: ReceiptRef) -> bytes:
        """Return the bytes of a receipt, which must be the logged ones.

        Raises:
            ReceiptError: the ledger holds another receipt at this place, or the receipt's
                file was edited or is missing.
            LedgerError: the ledger has no such entry, or is damaged.
        """
        logged = self.ledger.get(ref.index)
        if Digest.of(logged) != ref.digest:
            raise ReceiptError(
                f"entry {ref.index} of the ledger is not the receipt {ref.digest.short}",
                next_step="the reference was made for another ledger, or made up",
            )
        path = self.receipt_path(ref.digest)
        try:
            stored = _read(path, len(logged))
        except OSError as error:
            raise ReceiptError(
                f"the receipt {path} is missing, or is no plain file",
                next_step="receipts are evidence: find out who removed it; "
                "`sluicegate ledger export` restores it from the ledger",
            ) from error
        if stored != logged:
            raise ReceiptError(
                f"the receipt {path} was edited: it is not what the ledger holds",
                next_step="receipts are evidence: find out who changed it",
            )
        return stored

    def receipts(self, start: int = 0) -> Iterator[tuple[ReceiptRef, bytes]]:
        """Yield every receipt of the ledger from an index on.

        Raises:
            LedgerError: the ledger is damaged.
        """
        for index, bundle in self.ledger.entries(start):
            yield ReceiptRef(index, Digest.of(bundle)), bundle


def _read(path: Path, length: int) -> bytes:
    """Return the content of a plain file, of which one byte more than ``length`` is enough."""
    with open_plain(path) as file:
        return file.read(length + 1)
