"""The kinds of statements besides verdict and derivation: what is written is read, or refused."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime

import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.predicates.vsa.v1 import vsa_pb2
from in_toto_attestation.v1 import statement_pb2

from sluicegate.canonical import Digest, canonical_json
from sluicegate.errors import ReceiptError
from sluicegate.model import RunIdentity
from sluicegate.receipts.bundle import pre_authentication_encoding
from sluicegate.receipts.statement import (
    ApprovalStatement,
    EventStatement,
    HeadStatement,
    ProductionStatement,
    Subject,
    SummaryStatement,
    parse_statement,
    write_statement,
)

WHEN = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
RUN = RunIdentity(orchestrator="airflow", labels={"dag_id": "nightly", "run_id": "r" * 60})
MODEL = Subject.of_document("model.skops", b"weights", uri="s3://models/digits/7")
DATA = Subject.of_document("train.parquet", b"rows", uri="s3://lake/digits/train.parquet")
RECEIPTS = (Digest.of(b"one"), Digest.of(b"two"))

PRODUCTION = ProductionStatement(
    subject=MODEL,
    activity="train",
    made_from=(DATA, Subject.of_document("receipt", b"named like one", uri="s3://lake/receipt")),
    cleared_by=RECEIPTS,
    record=Digest.of(b"record"),
    started=WHEN,
    issued=WHEN,
    run=RUN,
    invocation="ab" * 8,
)
APPROVAL = ApprovalStatement(
    subject=MODEL,
    action="deploy",
    for_run="nightly/7",
    approver="ann@example.org",
    approved=True,
    factor="totp",
    factor_digest=Digest.of(b"step"),
    expires=WHEN,
    issued=WHEN,
    run=RUN,
    reason="looked at the report",
    invocation="cd" * 8,
)
HEAD = HeadStatement(
    subject=MODEL,
    model="digits",
    version="7",
    action="roll-back",
    epoch=3,
    previous=Digest.of(b"head 2"),
    issued=WHEN,
    run=RUN,
    reason="7 is better after all",
    invocation="ef" * 8,
)
EVENT = EventStatement(
    subject=Subject.of_document("policy.yaml", b"version: 1"),
    kind="policy.changed",
    details={"before": "00", "after": "11"},
    issued=WHEN,
    run=RUN,
    invocation="01" * 8,
)
SUMMARY = SummaryStatement(
    subject=DATA, purpose="train", policy=Digest.of(b"rules"), receipts=RECEIPTS, issued=WHEN
)
KINDS = [PRODUCTION, APPROVAL, HEAD, EVENT, SUMMARY]
NAMES = [type(kind).__name__ for kind in KINDS]


def paths(value, at=()):
    """Yield the path of every member of a JSON value that is an object's."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*at, key)
            yield from paths(inner, (*at, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from paths(inner, (*at, number))


def changed(value, path, change):
    value = copy.deepcopy(value)
    *way, last = path
    inner = value
    for step in way:
        inner = inner[step]
    change(inner, last)
    return value


@pytest.mark.parametrize("statement", KINDS, ids=NAMES)
def test_what_is_written_is_read(statement):
    assert parse_statement(write_statement(statement)) == statement


@pytest.mark.parametrize("statement", KINDS, ids=NAMES)
def test_it_fits_a_key_that_signs_4096_bytes_at_most(statement):
    assert len(pre_authentication_encoding(write_statement(statement))) <= 4096


@pytest.mark.parametrize("statement", KINDS, ids=NAMES)
def test_no_member_can_be_left_out_or_become_something_else(statement):
    whole = statement.to_json()
    free = {"labels", "dag_id", "run_id", "before", "after"}  # the user's own words
    unread = {"slsaVersion", "resourceUri", "verifiedLevels", "builder"}
    for path in paths(whole):
        if path[-1] in free | unread or unread & set(path):
            continue
        for damage in (lambda o, k: o.pop(k), lambda o, k: o.__setitem__(k, 7.5)):
            broken = canonical_json(changed(whole, path, damage))
            with pytest.raises(ReceiptError):
                parse_statement(broken)


@pytest.mark.parametrize("part", ["action", "forRun"])
def test_an_approval_is_bound_to_what_was_asked(part):
    value = json.loads(write_statement(APPROVAL))
    value["predicate"][part] = "another"
    with pytest.raises(ReceiptError, match="not bound"):
        parse_statement(canonical_json(value))


def test_an_approval_cannot_be_moved_to_another_subject():
    value = json.loads(write_statement(APPROVAL))
    value["subject"] = [DATA.to_json()]
    with pytest.raises(ReceiptError, match="not bound"):
        parse_statement(canonical_json(value))


@pytest.mark.parametrize(("epoch", "previous"), [(1, Digest.of(b"x")), (2, None), (0, None)])
def test_only_the_first_head_has_none_before_it(epoch, previous):
    value = json.loads(write_statement(HEAD))
    value["predicate"]["epoch"] = epoch
    value["predicate"]["previous"] = previous and {"digest": {"sha256": previous.hex}}
    with pytest.raises(ReceiptError, match="contradicts itself"):
        parse_statement(canonical_json(value))


def test_a_summary_that_failed_is_none():
    value = json.loads(write_statement(SUMMARY))
    value["predicate"]["verificationResult"] = "FAILED"
    with pytest.raises(ReceiptError, match="no pass"):
        parse_statement(canonical_json(value))


def test_a_source_that_is_named_like_a_receipt_stays_a_source():
    read = parse_statement(write_statement(PRODUCTION))
    assert [source.name for source in read.made_from] == ["train.parquet", "receipt"]
    assert read.cleared_by == RECEIPTS


@pytest.mark.parametrize(
    ("statement", "predicate"),
    [(PRODUCTION, provenance_pb2.Provenance()), (SUMMARY, vsa_pb2.VerificationSummary())],
    ids=["provenance", "vsa"],
)
def test_strict_parsers_of_published_predicates_read_it(statement, predicate):
    whole = json_format.Parse(write_statement(statement), statement_pb2.Statement())
    members = json_format.MessageToDict(whole.predicate)
    members.pop("verifiedLevels", None)  # a list by the specification, one text in this library
    json_format.ParseDict(members, predicate)
