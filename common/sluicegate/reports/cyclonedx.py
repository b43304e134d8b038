"""A model and what it was made from as a CycloneDX 1.6 bill of materials (ML-BOM).

An export, and never evidence: receipts are what is verified, and the document points to
them by digest. The same input gives the same bytes.

Source: CycloneDX specification 1.6 (ECMA-424), component types ``machine-learning-model``
and ``data``, model card.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from sluicegate.canonical import Digest, Json

__all__ = ["Artefact", "Metric", "ReceiptLink", "cyclonedx_bom"]

_SCHEMA: Final = "http://cyclonedx.org/schema/bom-1.6.schema.json"
_PROPERTY: Final = "sluicegate:"
"""Prefix of our names among a component's free properties."""
_URI: Final = ":/?#[]@!$&'()*+,;=-._~%"
"""Characters that stay as they are in a URI (RFC 3986, section 2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptLink:
    """A receipt about an artefact, as others can fetch it."""

    digest: Digest
    """SHA-256 of the receipt's bundle."""
    stage: str
    """What was attested: the stage, or the kind of statement."""
    url: str = ""
    """Where the bundle lies; by default a name made from its digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """A model or a dataset."""

    name: str
    uri: str
    digest: Digest
    """The Merkle root of its manifest: names, sizes and bytes."""
    sha256: Digest
    """Of the file, or for a folder of its manifest."""
    version: str = ""
    receipts: Sequence[ReceiptLink] = ()

    @property
    def ref(self) -> str:
        """How a bill refers to it: by what it is, not by where it lay."""
        return f"urn:sluicegate:{self.digest.hex}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A measured property of a model."""

    name: str
    value: float | str
    part: str = ""
    """Which part of the data it was measured on; empty for all."""


def cyclonedx_bom(
    model: Artefact,
    *,
    datasets: Sequence[Artefact],
    time: datetime,
    metrics: Sequence[Metric] = (),
    task: str = "",
    tool_version: str = "",
) -> dict[str, Json]:
    """Return the bill of a model.

    Args:
        model: what the bill is about.
        datasets: what the model was made from; one that is named twice is listed once.
        time: when the bill was made, aware.
        metrics: what was measured on the model.
        task: what the model does, for example ``classification``.
        tool_version: the version of sluicegate.
    """
    inputs = {dataset.ref: dataset for dataset in datasets if dataset.ref != model.ref}
    tool: dict[str, Json] = {"type": "application", "name": "sluicegate"}
    bill: dict[str, Json] = {
        "$schema": _SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tools": {"components": [tool | _optional("version", tool_version)]},
            "component": _model(model, list(inputs), metrics, task),
        },
        "components": [_dataset(dataset) for dataset in inputs.values()],
        "dependencies": [
            {"ref": model.ref, "dependsOn": sorted(inputs)},
            *({"ref": ref} for ref in inputs),
        ],
    }
    # The format asks for another number for each bill: one that the content gives.
    number = uuid.uuid5(uuid.NAMESPACE_URL, f"urn:sluicegate:{Digest.of_json(bill).hex}")
    return bill | {"serialNumber": number.urn}


def _model(
    model: Artefact, inputs: Sequence[str], metrics: Sequence[Metric], task: str
) -> dict[str, Json]:
    parameters: dict[str, Json] = {"datasets": [{"ref": ref} for ref in inputs]}
    card: dict[str, Json] = {"modelParameters": _optional("task", task) | parameters}
    if metrics:
        card["quantitativeAnalysis"] = {"performanceMetrics": [_metric(item) for item in metrics]}
    return _component(model, "machine-learning-model") | {"modelCard": card}


def _dataset(dataset: Artefact) -> dict[str, Json]:
    content: dict[str, Json] = {
        "type": "dataset",
        "name": dataset.name,
        "contents": {"url": _uri(dataset.uri)},
    }
    return _component(dataset, "data") | {"data": [content]}


def _component(artefact: Artefact, kind: str) -> dict[str, Json]:
    distribution: dict[str, Json] = {"type": "distribution", "url": _uri(artefact.uri)}
    return {
        "type": kind,
        "bom-ref": artefact.ref,
        "name": artefact.name,
        **_optional("version", artefact.version),
        "hashes": [_hash(artefact.sha256)],
        "externalReferences": [distribution, *map(_attestation, artefact.receipts)],
        "properties": [{"name": f"{_PROPERTY}merkleRoot", "value": artefact.digest.hex}],
    }


def _attestation(receipt: ReceiptLink) -> dict[str, Json]:
    return {
        "type": "attestation",
        "url": _uri(receipt.url or f"{receipt.digest.hex}.sigstore.json"),
        "comment": receipt.stage,
        "hashes": [_hash(receipt.digest)],
    }


def _metric(metric: Metric) -> dict[str, Json]:
    return {"type": metric.name, "value": str(metric.value), **_optional("slice", metric.part)}


def _hash(digest: Digest) -> dict[str, Json]:
    return {"alg": "SHA-256", "content": digest.hex}


def _uri(text: str) -> str:
    return quote(text, safe=_URI)


def _optional(key: str, text: str) -> dict[str, Json]:
    return {key: text} if text else {}
