"""``sluicegate provenance export``: a chain in the formats of other tools."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Final

from sluicegate.canonical import Digest, Json
from sluicegate.cli.provenance_walk import Walk, walk
from sluicegate.cli.terminal import COULD_NOT_CONCLUDE, NOT_CLEARED, PASSED
from sluicegate.errors import ConfigurationError
from sluicegate.receipts.keys import Signer
from sluicegate.receipts.lineage import Chain
from sluicegate.receipts.signers import load
from sluicegate.receipts.statement import Subject
from sluicegate.reports.croissant import croissant_dataset
from sluicegate.reports.cyclonedx import Artefact, ReceiptLink, cyclonedx_bom
from sluicegate.reports.in_toto_layout import in_toto_files
from sluicegate.reports.openlineage import openlineage_events
from sluicegate.reports.prov import prov_document
from sluicegate.signing import key_password, load_signer
from sluicegate.storage.local import write_atomically

__all__ = ["FORMATS", "export", "told"]

_LAYOUT_LIFE: Final = timedelta(days=30)
"""How long an exported layout holds: a month, as in-toto's own tools have it."""


def export(args: argparse.Namespace) -> int:
    """Write what the walk found; the exit code says whether it found anything wrong."""
    walked = walk(args)
    if args.format == "in-toto":
        _write_layout(args, walked)
    else:
        text = json.dumps(_DOCUMENTS[args.format](walked, args), indent=2, ensure_ascii=False)
        _write(args.out, text + "\n")
    return told(walked.chain)


def told(chain: Chain) -> int:
    """Say on standard error what is wrong with a chain; return the exit code."""
    for problem in chain.problems:
        print(f"sluicegate: {problem.fault.value}: {problem.message}", file=sys.stderr)
    if chain.problems:
        return NOT_CLEARED
    if chain.cut:
        print(f"sluicegate: could not conclude: {chain.cut}", file=sys.stderr)
        return COULD_NOT_CONCLUDE
    return PASSED


def _write(out: str | None, text: str) -> None:
    if out is None:
        sys.stdout.write(text)
        return
    try:
        write_atomically(Path(out), text.encode())
    except OSError as error:
        raise ConfigurationError(f"cannot write {out}: {error.strerror}") from error


def _write_layout(args: argparse.Namespace, walked: Walk) -> None:
    if args.out is None:
        raise ConfigurationError("--format in-toto writes several files: name a folder with --out")
    folder = Path(args.out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(f"{folder} is not an empty folder")
    signer: Signer = load(args.key, key_password()) if args.key else load_signer(walked.policy)
    expires = datetime.now(UTC) + _LAYOUT_LIFE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in in_toto_files(walked.chain, signer, expires=expires).items():
            write_atomically(folder / name, content)
    except OSError as error:
        raise ConfigurationError(f"cannot write {folder}: {error.strerror}") from error
    print(
        f"sluicegate: layout and links are signed by key {signer.public_key.id[:12]}, not by "
        "those that signed the receipts",
        file=sys.stderr,
    )


def _openlineage(walked: Walk, args: argparse.Namespace) -> Json:
    return openlineage_events(walked.chain, namespace=args.namespace)


def _prov(walked: Walk, args: argparse.Namespace) -> Json:  # noqa: ARG001  one form for all
    return prov_document(walked.chain)


def _cyclonedx(walked: Walk, args: argparse.Namespace) -> Json:  # noqa: ARG001
    chain = walked.chain
    others = [link.subject for link in chain.links.values()]
    others += [*chain.unmade.values()]
    return cyclonedx_bom(
        _artefact(chain.subject, walked),
        datasets=[_artefact(one, walked) for one in others if one.digest != chain.subject.digest],
        time=datetime.now(UTC),
        tool_version=version("sluicegate"),
    )


def _artefact(subject: Subject, walked: Walk) -> Artefact:
    receipts: dict[Digest, ReceiptLink] = {}
    link = walked.chain.links.get(subject.digest)
    if link is not None:
        receipts[link.record.digest] = ReceiptLink(
            digest=link.record.digest, stage=link.record.statement.stage
        )
    for said in walked.history.verdicts.get(subject.digest, ()):
        if not said.record.objection:
            receipts[said.record.digest] = ReceiptLink(
                digest=said.record.digest, stage=said.verdict.stage
            )
    return Artefact(
        name=subject.name,
        uri=subject.uri,
        digest=subject.digest,
        sha256=subject.sha256,
        receipts=tuple(receipts.values()),
    )


def _croissant(walked: Walk, args: argparse.Namespace) -> Json:
    if walked.snapshot is None:
        raise ConfigurationError(
            "a Croissant description lists every file: name the subject by its path or URI"
        )
    origin = walked.chain.origin
    published = origin.record.statement.issued if origin else datetime.now(UTC)
    return croissant_dataset(
        walked.snapshot.manifest.files,
        name=walked.chain.subject.name,
        published=published.date(),
        license=args.license,
        description=args.description,
    )


_DOCUMENTS: Final[Mapping[str, Callable[[Walk, argparse.Namespace], Json]]] = {
    "openlineage": _openlineage,
    "cyclonedx": _cyclonedx,
    "croissant": _croissant,
    "prov": _prov,
}
FORMATS: Final = ("in-toto", *_DOCUMENTS)
"""What a chain can be exported to."""
