"""A chain as OpenLineage events, for catalogues that show lineage.

An export, never the truth: events are not signed, and whoever receives them cannot check
them. A facet of our own names the receipt that says the same and can be checked.

Source: OpenLineage specification 2-0-2; facets DatasetVersion 1-0-1 and JobType 2-0-3.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Final

from sluicegate.canonical import Json
from sluicegate.receipts.lineage import Chain, Link
from sluicegate.receipts.statement import ProductionStatement, Subject
from sluicegate.receipts.statements.frame import write_time

__all__ = ["openlineage_events"]

_PRODUCER: Final = "pkg:pypi/sluicegate"
_EVENT: Final = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_VERSION: Final = (
    "https://openlineage.io/spec/facets/1-0-1/DatasetVersionDatasetFacet.json"
    "#/$defs/DatasetVersionDatasetFacet"
)
_JOB_TYPE: Final = (
    "https://openlineage.io/spec/facets/2-0-3/JobTypeJobFacet.json#/$defs/JobTypeJobFacet"
)
_RECEIPT: Final = "pkg:pypi/sluicegate#openlineage-receipt-run-facet-v1"
_DIGESTS: Final = "pkg:pypi/sluicegate#openlineage-digests-dataset-facet-v1"


def openlineage_events(chain: Chain, *, namespace: str) -> list[dict[str, Json]]:
    """Return a START and a COMPLETE event for each link, what was logged first coming first.

    Args:
        chain: what to export.
        namespace: of the jobs; those who read the events tell deployments apart by it.
    """
    links = sorted(chain.links.values(), key=lambda link: link.record.index)
    return [
        event
        for link in links
        for event in (
            _event(link, "START", _started(link), namespace),
            _event(link, "COMPLETE", link.record.statement.issued, namespace),
        )
    ]


def _event(link: Link, kind: str, moment: datetime, namespace: str) -> dict[str, Json]:
    return {
        "eventType": kind,
        "eventTime": write_time(moment),
        "producer": _PRODUCER,
        "schemaURL": _EVENT,
        "run": {
            "runId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:sha256:{link.record.payload.hex}")),
            "facets": {
                "sluicegate_receipt": {
                    **_facet(_RECEIPT),
                    "sha256": link.record.digest.hex,
                    "ledgerIndex": link.record.index,
                    "key": link.record.key_id,
                    "keyName": link.record.key,
                }
            },
        },
        "job": {
            "namespace": namespace,
            "name": f"{link.activity}.{link.subject.name or 'subject'}",
            "facets": {
                "jobType": {
                    **_facet(_JOB_TYPE),
                    "processingType": "BATCH",
                    "integration": "SLUICEGATE",
                    "jobType": link.origin.value.upper(),
                }
            },
        },
        "inputs": [_dataset(subject) for subject in link.inputs],
        "outputs": [_dataset(link.subject)],
    }


def _started(link: Link) -> datetime:
    statement = link.record.statement
    return statement.started if isinstance(statement, ProductionStatement) else statement.issued


def _dataset(subject: Subject) -> dict[str, Json]:
    """Return a dataset, named as OpenLineage names objects and files."""
    scheme, _, path = subject.uri.partition("://")
    place, _, name = path.partition("/")
    local = scheme == "file" or not path
    return {
        "namespace": "file" if local else f"{scheme}://{place}",
        "name": (path if local else name) or subject.uri or subject.name or subject.digest.hex,
        "facets": {
            "version": {**_facet(_VERSION), "datasetVersion": subject.digest.hex},
            "sluicegate_digests": {
                **_facet(_DIGESTS),
                "merkleRoot": subject.digest.hex,
                "sha256": subject.sha256.hex,
                "dirHash1": subject.dir_hash,
            },
        },
    }


def _facet(schema: str) -> dict[str, Json]:
    return {"_producer": _PRODUCER, "_schemaURL": schema}
