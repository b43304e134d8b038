"""A chain as W3C PROV, for archives and catalogues that keep provenance in that form.

An export, never the truth: each activity names the receipt that says the same, signed.

Source: W3C PROV-JSON (member submission, 24 April 2013); PROV-DM for the meaning.
"""

from __future__ import annotations

from typing import Final

from sluicegate.canonical import Json
from sluicegate.receipts.lineage import Chain, Link
from sluicegate.receipts.statement import ProductionStatement, Subject
from sluicegate.receipts.statements.frame import write_time

__all__ = ["prov_document"]

_PREFIXES: Final = {
    "sg": "pkg:pypi/sluicegate#prov/",
    "sha256": "urn:sha256:",
    "merkle": "urn:sluicegate:",
}


def prov_document(chain: Chain) -> dict[str, Json]:
    """Return entities, activities and agents, and how they relate."""
    document: dict[str, Json] = {
        "prefix": dict(_PREFIXES),
        "entity": {},
        "activity": {},
        "agent": {},
        "wasGeneratedBy": {},
        "wasAssociatedWith": {},
        "used": {},
        "wasDerivedFrom": {},
    }
    for link in chain.links.values():
        _add(document, link)
    for subject in chain.unmade.values():
        document["entity"].setdefault(_entity(subject), _described(subject))
    return {name: part for name, part in document.items() if part}


def _add(document: dict[str, Json], link: Link) -> None:
    activity, made = f"sha256:{link.record.digest.hex}", _entity(link.subject)
    agent = f"sg:key-{link.record.key_id}"
    statement = link.record.statement
    finished = write_time(statement.issued)
    started = statement.started if isinstance(statement, ProductionStatement) else statement.issued
    document["entity"][made] = _described(link.subject)
    document["activity"][activity] = {
        "prov:startTime": write_time(started),
        "prov:endTime": finished,
        "prov:type": link.activity,
        "sg:ledgerIndex": link.record.index,
    }
    document["agent"][agent] = {"prov:type": "prov:SoftwareAgent", "prov:label": link.record.key}
    name = link.record.digest.hex
    document["wasGeneratedBy"][f"_:made-{name}"] = {
        "prov:entity": made,
        "prov:activity": activity,
        "prov:time": finished,
    }
    document["wasAssociatedWith"][f"_:by-{name}"] = {
        "prov:activity": activity,
        "prov:agent": agent,
    }
    for at, item in enumerate(link.inputs):
        source = _entity(item)
        document["entity"].setdefault(source, _described(item))
        document["used"][f"_:used-{name}-{at}"] = {
            "prov:activity": activity,
            "prov:entity": source,
        }
        document["wasDerivedFrom"][f"_:from-{name}-{at}"] = {
            "prov:generatedEntity": made,
            "prov:usedEntity": source,
            "prov:activity": activity,
        }


def _entity(subject: Subject) -> str:
    return f"merkle:{subject.digest.hex}"


def _described(subject: Subject) -> dict[str, Json]:
    return {
        "prov:label": subject.name,
        "prov:location": subject.uri,
        "sg:sha256": subject.sha256.hex,
        "sg:dirHash1": subject.dir_hash,
    }
