"""Which format a report is in, told by its structure, and nothing else.

A name or an extension proves nothing. Each format has members that the others lack; what
fits none of them, or is cut off, damaged, of another version or too large, is not read at
all: half a report would look like a better one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sluicegate.canonical import Json, parse_json
from sluicegate.stages.encryption.foreign.asff import read_asff
from sluicegate.stages.encryption.foreign.grype import read_grype
from sluicegate.stages.encryption.foreign.model import ToolReport, UnreadableError
from sluicegate.stages.encryption.foreign.prowler import read_native, read_ocsf
from sluicegate.stages.encryption.foreign.sarif import read_sarif
from sluicegate.stages.encryption.foreign.trivy import read_trivy

__all__ = ["MAX_BYTES", "read_report"]

MAX_BYTES: Final = 64 << 20
"""Largest report that is parsed: tens of thousands of findings. Reading one of that size takes
ten to thirty seconds on one core. Parsed JSON usually takes four times its size in memory,
and 25 times where somebody made it for that."""

_BOM: Final = b"\xef\xbb\xbf"
"""Byte order mark that some shells put before UTF-8."""

_KNOWN: Final = "Prowler (OCSF or JSON), ASFF, SARIF 2.1.0, Trivy or Grype JSON"


def read_report(content: bytes) -> tuple[ToolReport, ...]:
    """Read a report of another tool; a file may hold several.

    Raises:
        UnreadableError: too large, not JSON, or of no format or version that is known.
    """
    if len(content) > MAX_BYTES:
        raise UnreadableError(f"expected at most {MAX_BYTES} bytes, found {len(content)}")
    try:
        document = parse_json(content.removeprefix(_BOM))
    except ValueError as error:
        raise UnreadableError(str(error)) from error
    if isinstance(document, dict):
        return _object(document)
    if isinstance(document, list):
        return _list(document)
    raise UnreadableError(f"expected a report of {_KNOWN}")


def _object(document: Mapping[str, Json]) -> tuple[ToolReport, ...]:
    if "runs" in document and "version" in document:
        return read_sarif(document)
    if "SchemaVersion" in document and "ArtifactName" in document:
        return read_trivy(document)
    if "matches" in document and "descriptor" in document:
        return read_grype(document)
    if "Findings" in document and document.keys() <= {"Findings", "NextToken"}:
        findings = document["Findings"]
        if not isinstance(findings, list):
            raise UnreadableError("$.Findings: expected a list")
        return read_asff(_objects(findings), more=bool(document.get("NextToken")))
    return _list([document])


def _list(document: list[Json]) -> tuple[ToolReport, ...]:
    items = _objects(document)
    if not items:
        raise UnreadableError("an empty list names neither a tool nor anything that it examined")
    first = items[0]
    if "ProductArn" in first and "AwsAccountId" in first:
        return read_asff(items)
    if "class_uid" in first and "metadata" in first:
        return read_ocsf(items)
    if "CheckID" in first and "StatusExtended" in first:
        return read_native(items)
    raise UnreadableError(f"expected a report of {_KNOWN}, found JSON of another structure")


def _objects(items: list[Json]) -> list[Mapping[str, Json]]:
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise UnreadableError(f"[{index}]: expected an object")
    return items
