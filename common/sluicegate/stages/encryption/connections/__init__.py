"""What an orchestrator knows of its connections, blocks and itself.

A connection is a subject of its own (``airflow-connection://my_pg``) or named in the option
``connections``. Only its description is judged; nothing is opened, looked up or sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from sluicegate.errors import SubjectError
from sluicegate.model import Check, Finding
from sluicegate.stages.encryption.connections.description import SCHEMES, describe
from sluicegate.stages.encryption.connections.questions import QUESTIONS, SCOPE
from sluicegate.stages.encryption.scope import Area, Scope
from sluicegate.stages.encryption.settings import Settings
from sluicegate.storage.uri import SubjectUri

__all__ = ["AREA", "QUESTIONS", "examine"]


def resources(settings: Settings, subject: SubjectUri) -> Mapping[str, tuple[str, ...]]:
    """Return the connections that this room asks about; nothing on AWS."""
    named = _named(settings, subject)
    return {"connections": tuple(named)} if named else {}


def examine(scope: Scope) -> Iterator[Check]:
    """Answer the wanted questions about each connection.

    Raises:
        SubjectError: the subject is a connection, and cannot be read any more.
        SubjectChangedError: the subject is a connection that changed after its snapshot.
    """
    named = _named(scope.settings, scope.snapshot.uri)
    for text, uri in named.items():
        yield from (check for check in _one(text, uri, scope) if _wanted(check, scope))
    scope.metrics["connections"] = len(named)
    held = [text for text in named if not text.startswith("airflow-deployment:")]
    if held and scope.wants(SCOPE):
        found = Finding(
            message=f"expected every connection to be looked at; only the {len(held)} named "
            "were: an orchestrator does not list the others to a task",
            evidence={"named": list(held)},
        )
        yield SCOPE.failed([found])


def _named(settings: Settings, subject: SubjectUri) -> dict[str, SubjectUri | None]:
    """Return what is asked about, sorted; None where a text is no usable URI."""
    found: dict[str, SubjectUri | None] = {}
    if subject.scheme in SCHEMES:
        found[str(subject)] = subject
    for text in settings.connections:
        try:
            uri = SubjectUri.parse(text)
        except SubjectError:
            found["(unusable)"] = None  # not repeated: it may carry credentials
            continue
        found[str(uri)] = uri if uri.scheme in SCHEMES else None
    return dict(sorted(found.items()))


def _wanted(check: Check, scope: Scope) -> bool:
    return any(one.id == check.id and scope.wants(one) for one in QUESTIONS)


def _one(text: str, uri: SubjectUri | None, scope: Scope) -> Iterator[Check]:
    from sluicegate.stages.encryption.connections.judge import judge, questions_of

    if uri is None:
        reason = f"expected a URI of {', '.join(f'{one}://' for one in SCHEMES)}"
        for question in questions_of(SCHEMES[0]):
            yield question.unknown(reason, text)
        return
    try:
        described = describe(uri, scope.snapshot)
    except SubjectError as error:
        if uri == scope.snapshot.uri:
            raise
        for question in questions_of(uri.scheme):
            yield question.unknown(error.what, text)
        return
    yield from judge(described)


AREA: Final = Area(name="connections", questions=QUESTIONS, resources=resources, examine=examine)
