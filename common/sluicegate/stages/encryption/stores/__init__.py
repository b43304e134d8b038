"""Other stores that a pipeline names: services of AWS, Google Cloud Storage, Azure Blobs.

The questions are the same for all of them: is it encrypted at rest, with whose key, does it
refuse plain connections, is it closed to everybody. Each service answers those that it can:
a store is described with one call, and nothing is listed but the objects of a named bucket.

A subject at ``gs://`` or ``abfs://CONTAINER@ACCOUNT...`` is a store too, without being named.

What it cannot see: what lies in front of a store (security groups, service perimeters,
firewalls), and what a store did before. At Azure, settings of the account need its
management interface, which is not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from sluicegate.model import Check
from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.scope import Area, Scope
from sluicegate.stages.encryption.settings import Settings
from sluicegate.stages.encryption.stores import azure, gcs
from sluicegate.stages.encryption.stores.base import Asks, Calls, Judgement
from sluicegate.stages.encryption.stores.catalog import judges_of, type_of
from sluicegate.stages.encryption.stores.names import (
    Arn,
    AzureName,
    GcsName,
    of_subject,
    parse_arn,
    parse_azure,
    parse_gcs,
)
from sluicegate.stages.encryption.stores.questions import QUESTION, QUESTIONS
from sluicegate.storage.uri import SubjectUri

__all__ = ["AREA", "QUESTIONS", "examine", "resources"]

Name = Arn | GcsName | AzureName


def resources(settings: Settings, uri: SubjectUri) -> Mapping[str, tuple[str, ...]]:
    """Return the stores that would be asked, and what else their questions touch.

    Raises:
        ConfigurationError: a store is malformed, or of a type that is not known.
    """
    found: dict[str, set[str]] = {}
    for name in _names(settings, uri).values():
        for on, resource in _touched(name):
            found.setdefault(on, set()).add(resource)
    if "key" in found:
        found["key"] |= {
            f"{name.partition(':alias/')[0]}:key/*"
            for name in settings.kms_keys
            if ":alias/" in name
        }
    return {on: tuple(sorted(found[on])) for on in sorted(found)}


def examine(scope: Scope) -> Iterator[Check]:
    """Ask every named store the questions that are wanted and apply to it.

    Raises:
        ConfigurationError: a store is malformed, or of a type that is not known.
        MissingExtraError: the client library of its cloud is not installed.
    """
    calls = Calls(scope)
    for target, name in sorted(_names(scope.settings, scope.snapshot.uri).items()):
        judges = _judges(calls, name)
        for asks in Asks:
            if asks in judges and scope.wants(QUESTION[asks]):
                yield _check(asks, judges[asks](), target)


def _check(asks: Asks, judgement: Judgement, target: str) -> Check:
    question = QUESTION[asks]
    if isinstance(judgement, Unknown):
        return question.unknown(judgement.reason, target)
    return question.failed(judgement, target) if judgement else question.passed(target)


def _names(settings: Settings, uri: SubjectUri) -> dict[str, Name]:
    """Return each store by what it is called in the report."""
    own = of_subject(uri)
    named = [_parse(text) for text in settings.resources]
    return {_target(name): name for name in (*named, *([own] if own else []))}


def _parse(text: str) -> Name:
    if text.startswith("gs://"):
        return parse_gcs(text)
    if text.startswith("azure://"):
        return parse_azure(text)
    arn = parse_arn(text)
    type_of(arn)
    return arn


def _target(name: Name) -> str:
    return name.text if isinstance(name, Arn) else str(name)


def _judges(calls: Calls, name: Name) -> Mapping[Asks, Callable[[], Judgement]]:
    if isinstance(name, GcsName):
        return gcs.judges_of(calls.scope, name)
    if isinstance(name, AzureName):
        return azure.judges_of(calls.scope, name)
    return judges_of(calls, name)


def _touched(name: Name) -> Iterator[tuple[str, str]]:
    if isinstance(name, GcsName):
        yield "gcs", str(name)
        return
    if isinstance(name, AzureName):
        yield "azure", str(name)
        return
    kind, _ = type_of(name)
    yield kind.on, name.text if kind.has_arn else "*"
    for on, resource in kind.also.items():
        yield on, resource if resource == "*" else name.beside(kind.service, resource)
    if kind.keys is not None:
        yield "key", name.beside("kms", "key/*")


AREA: Final = Area(name="stores", questions=QUESTIONS, resources=resources, examine=examine)
"""The room."""
