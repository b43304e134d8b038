"""Approvals: who may agree to what, with which second factor, and for how long."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sluicegate.approving import ApprovalRequest, ApproverBook, approve, refuse, request_approval
from sluicegate.approving.sealed import SealedFile
from sluicegate.approving.totp import step_of
from sluicegate.approving.webauthn import (
    assertion_options,
    register,
    registration_options,
)
from sluicegate.canonical import Digest, parse_json
from sluicegate.clearance import open_cleared
from sluicegate.cli.approve import add_approvals, add_approve
from sluicegate.cli.approvers import add_approvers
from sluicegate.cli.terminal import report_failure
from sluicegate.errors import (
    ClearanceRefused,
    ConfigurationError,
    Decision,
    KeyFileError,
    SluicegateError,
)
from sluicegate.model import RunIdentity
from sluicegate.policy.approvals import judge_approvals
from sluicegate.policy.load import load_policy
from sluicegate.policy.model import Approvals
from sluicegate.receipts.records import Record
from sluicegate.receipts.statement import ApprovalStatement, EventStatement, Subject
from sluicegate.signing import open_evidence
from sluicegate.testimony import LedgerRecords
from tests.core.authenticator import SoftClient, SoftKey
from tests.scenes import FlagNegatives, Scene

NOW = datetime.now(UTC).replace(microsecond=0)
STEP = step_of(NOW.timestamp())
RP, ORIGIN = "approvals.example.org", "https://approvals.example.org"

POLICY = """\
version: 1
purposes:
  deploy:
    stages: [flag-negatives]
    approvals: {{by: [ana, bo, cy], count: {count}{more}}}
  train:
    stages: [flag-negatives]
keys:
  - name: gates
    file: keys/gates.pub.pem
    stages: ["*"]
  - name: desk
    file: keys/desk.pub.pem
    stages: [approval]
    approvers: [ana, bo, eve]
"""


class Office(Scene):
    """A project with approvers, and a key for them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.stages = (FlagNegatives(),)
        self.desk = self.other_key("desk")
        self.rules()
        self.book = ApproverBook(SealedFile(self.evidence / "keys" / "approvers.json"))
        self.secrets = {name: self.book.enrol_totp(name) for name in ("ana", "bo", "eve")}

    def rules(self, count: int = 1, more: str = "") -> None:
        self.write_policy(POLICY.format(count=count, more=more))

    def code(self, name: str, offset: int = 0) -> str:
        return self.secrets[name].code(STEP + offset)

    def ask(self, subject=None, *, action="deploy", run="", now=NOW) -> ApprovalRequest:
        return request_approval(
            subject or self.data, action=action, policy=self.policy, run=run, now=now
        )

    def yes(self, request=None, name="ana", *, offset=0, **more):
        code = self.code(name, offset) if name in self.secrets else "123456"
        options = {"code": code, "now": NOW, "signer": self.desk} | more
        return approve(request or self.ask(), approver=name, policy=self.policy, **options)

    def no(self, request=None, name="ana", **more):
        return refuse(
            request or self.ask(), approver=name, policy=self.policy, signer=self.desk, **more
        )

    def may_deploy(self, *, run=None, now=None) -> bool:
        try:
            open_cleared(self.data, purpose="deploy", policy=self.policy, run=run, now=now)
        except ClearanceRefused:
            return False
        return True

    def logged(self) -> list[ApprovalStatement]:
        policy = load_policy(self.policy)
        records = LedgerRecords(open_evidence(policy), policy, NOW)
        return [one.statement for one in records if isinstance(one.statement, ApprovalStatement)]


@pytest.fixture
def office(tmp_path) -> Office:
    scene = Office(tmp_path)
    scene.write_data([1.0, 2.0, 3.0])
    scene.run(scene.data)
    return scene


# What people agree to, from the question to the consumer.


def test_nothing_is_deployed_before_somebody_agreed(office):
    assert not office.may_deploy()
    request = office.ask()
    assert request.short_code == request.binding.hex[:8]
    assert request.binding == Digest.of_json(
        {"action": "deploy", "run": "", "subject": request.subject.digest.hex}
    )
    ref = office.yes(request, reason="looked at the report")
    assert open_evidence(load_policy(office.policy)).receipt(ref)
    assert office.may_deploy()
    (statement,) = office.logged()
    assert (statement.approver, statement.factor, statement.reason) == (
        "ana",
        "totp",
        "looked at the report",
    )
    assert statement.binding == request.binding


def test_a_clearance_and_what_it_opens_can_be_asked_about(office):
    clearance = office.run(office.data).clearance
    cleared = open_cleared(office.data, purpose="train", policy=office.policy)
    assert {office.ask(one).subject.digest for one in (clearance, cleared, office.data)} == {
        cleared.digest
    }
    office.write_data([1.0, 2.0])
    for one in (clearance, cleared):
        with pytest.raises(ClearanceRefused, match="not what was cleared"):
            office.ask(one)


def test_an_approval_is_for_these_bytes_only(office):
    office.yes()
    office.write_data([1.0, 2.0, 4.0])
    office.run(office.data)
    assert not office.may_deploy()


def test_bytes_that_change_between_question_and_answer_are_not_approved(office):
    request = office.ask()
    office.write_data([1.0, 2.0, 4.0])
    with pytest.raises(ClearanceRefused, match="not what was shown"):
        office.yes(request)
    assert office.logged() == []


def test_an_approval_for_a_run_is_for_no_other(office):
    office.yes(office.ask(run="nightly-1"))
    assert office.may_deploy(run="nightly-1")
    assert not office.may_deploy(run="nightly-2")
    assert not office.may_deploy()
    office.yes(office.ask(), "bo")
    assert office.may_deploy(run="nightly-2")


def test_an_approval_expires(office):
    office.yes(expires_in=timedelta(hours=1))
    assert office.may_deploy(now=NOW + timedelta(minutes=59))
    assert not office.may_deploy(now=NOW + timedelta(hours=1))


def test_the_policy_can_shorten_an_approval(office):
    office.rules(more=", max_age: 1h")
    office.run(office.data)
    office.yes(expires_in=timedelta(days=30))
    assert office.may_deploy(now=NOW + timedelta(minutes=59))
    assert not office.may_deploy(now=NOW + timedelta(minutes=61))


def test_one_person_is_one_however_often_they_agree(office):
    office.rules(count=2)
    office.run(office.data)
    office.yes()
    office.yes(offset=1)
    assert not office.may_deploy()
    office.yes(name="bo")
    assert office.may_deploy()


def test_a_refusal_takes_an_approval_back_and_a_later_approval_that(office):
    office.yes()
    assert office.may_deploy()
    office.no(reason="found a leak")
    assert not office.may_deploy()
    assert not office.may_deploy(run="nightly-1")
    office.yes(offset=1)
    assert office.may_deploy()


def test_a_refusal_needs_no_second_factor_and_no_subject(office):
    request = office.ask()
    office.data.unlink()
    office.no(request)
    assert [one.approved for one in office.logged()] == [False]
    assert office.logged()[0].factor == "none"


def test_a_refusal_of_one_person_does_not_outweigh_another(office):
    office.yes()
    office.no(name="bo")
    assert office.may_deploy()


# Who may.


def test_somebody_else_cannot_approve(office):
    with pytest.raises(ClearanceRefused, match="eve is not named"):
        office.yes(name="eve")
    with pytest.raises(ClearanceRefused, match="eve is not named"):
        office.no(name="eve")
    with pytest.raises(ConfigurationError, match="may not sign approvals of cy"):
        office.yes(name="cy")


def test_the_key_of_a_gate_cannot_approve(office):
    with pytest.raises(ConfigurationError, match="not trusted for approval"):
        office.yes(signer=office.signer)
    assert office.logged() == []


def test_an_action_without_approvals_cannot_be_approved(office):
    with pytest.raises(ConfigurationError, match="asks for no approvals"):
        office.ask(action="train")


def test_a_second_factor_is_asked_for(office):
    with pytest.raises(ClearanceRefused, match="takes a second factor"):
        office.yes(code=None)
    office.rules(more=", second_factor: false")
    office.run(office.data)
    office.yes(code=None)
    assert office.may_deploy()


def test_stale_and_future_requests_are_refused(office):
    for asked in (NOW - timedelta(minutes=16), NOW + timedelta(minutes=2)):
        with pytest.raises(ClearanceRefused, match="not good any more"):
            office.yes(office.ask(now=asked))
    office.yes(office.ask(now=NOW - timedelta(minutes=14)))


def test_limits(office):
    with pytest.raises(ConfigurationError, match="366 days"):
        office.yes(expires_in=timedelta(days=367))
    with pytest.raises(ConfigurationError, match="366 days"):
        office.yes(expires_in=timedelta(0))
    with pytest.raises(ConfigurationError, match="500 characters"):
        office.no(reason="x" * 501)
    with pytest.raises(ConfigurationError, match="name of a run"):
        office.ask(run="x\n")


def test_a_request_travels_as_json_and_is_believed_nothing(office):
    request = office.ask(run="r1")
    value = json.loads(json.dumps(request.to_json()))
    assert ApprovalRequest.from_json(value) == request
    for change in ({"action": "train"}, {"run": "r2"}, {"kind": "x"}, {"subject": {}}):
        with pytest.raises(ClearanceRefused, match="was changed"):
            ApprovalRequest.from_json(value | change)
    # Shown: a harmless digest. Lies there: something else.
    forged = replace(request, subject=replace(request.subject, digest=Digest.of(b"other")))
    with pytest.raises(ClearanceRefused, match="not what was shown"):
        office.yes(ApprovalRequest.from_json(forged.to_json()))


# The second factor is good once.


def test_a_code_cannot_be_used_twice(office):
    office.yes()
    with pytest.raises(ClearanceRefused, match="used before"):
        office.yes()
    other = office.write_data([5.0], "other.parquet")
    with pytest.raises(ClearanceRefused, match="used before"):
        office.yes(office.ask(other))
    with pytest.raises(ClearanceRefused, match="used before"):
        office.yes(office.ask(run="r"))
    assert len(office.logged()) == 1


def test_a_wrong_code_burns_neither_the_request_nor_the_code(office):
    request = office.ask()
    with pytest.raises(ClearanceRefused, match="wrong"):
        office.yes(request, code=office.code("bo"))
    office.yes(request)
    assert office.may_deploy()


def test_guessing_is_limited_across_processes_and_people(office):
    request = office.ask()
    for _ in range(5):
        with pytest.raises(ClearanceRefused, match="wrong"):
            office.yes(request, code="not it")
    with pytest.raises(ClearanceRefused, match="5 wrong attempts"):
        office.yes(request, book=ApproverBook(SealedFile(office.book.file.path)))
    office.yes(request, "bo")
    later = NOW + timedelta(minutes=5)
    office.yes(office.ask(now=later), offset=10, now=later)


def test_a_clock_that_was_set_back_is_noticed(office):
    office.yes()
    back = NOW - timedelta(days=1)
    with pytest.raises(ClearanceRefused, match="set back"):
        office.yes(office.ask(now=back), now=back, code=office.code("ana", -2880))


def _attempt(folder: str, subject: str, code: str, start) -> bool:
    office = Scene.__new__(Office)
    office.folder = Path(folder)
    policy = load_policy(office.policy)
    from sluicegate.receipts.keys import FileSigner

    signer = FileSigner.load(Path(folder) / "desk.key.pem")
    request = request_approval(subject, action="deploy", policy=policy, now=NOW)
    start.wait()
    try:
        approve(request, approver="ana", policy=policy, code=code, signer=signer, now=NOW)
    except ClearanceRefused:
        return False
    return True


def test_one_code_in_many_processes_at_once_is_good_for_one(office):
    import tests.scenes  # noqa: F401  registers the stages

    context = multiprocessing.get_context("fork")
    count = 4
    subjects = [str(office.write_data([float(n)], f"{n}.parquet")) for n in range(count)]
    manager_start = context.Barrier(count)
    results = context.Queue()

    def run(subject: str) -> None:
        results.put(_attempt(str(office.folder), subject, office.code("ana"), manager_start))

    processes = [context.Process(target=run, args=(subject,)) for subject in subjects]
    for process in processes:
        process.start()
    outcomes = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert sorted(outcomes) == [False] * (count - 1) + [True]
    assert len(office.logged()) == 1


def test_one_code_in_many_threads_at_once_is_good_for_one(office):
    def attempt(_):
        try:
            office.book.confirm_code("ana", office.code("ana"), now=NOW)
        except ClearanceRefused:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(16))) == 1


def test_a_code_that_was_accepted_stays_used_through_a_crash(tmp_path):
    book = ApproverBook(SealedFile(tmp_path / "approvers.json"))
    secret = book.enrol_totp("ana")
    context = multiprocessing.get_context("fork")
    acknowledged = STEP

    def use_codes(step: int, out) -> None:
        while True:
            step += 1
            book.confirm_code(
                "ana", secret.code(step), now=NOW + timedelta(seconds=30 * (step - STEP))
            )
            out.send(step)

    for kill in range(25):
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=use_codes, args=(acknowledged, theirs))
        child.start()
        theirs.close()
        if ours.poll(30):
            time.sleep(0.0007 * kill)
        os.kill(child.pid, signal.SIGKILL)
        child.join(30)
        try:
            while True:
                acknowledged = ours.recv()
        except EOFError:
            pass
        last = book.find("ana").last_step
        assert last >= acknowledged
        then = NOW + timedelta(seconds=30 * (last - STEP))
        for used in {last, acknowledged} & {last - 1, last}:
            with pytest.raises(ClearanceRefused, match="used before"):
                book.confirm_code("ana", secret.code(used), now=then)
        book.file.write({"approvers": [replace(book.find("ana"), wrong=()).to_json()]})
        acknowledged = last
    assert acknowledged > STEP + 25


def test_an_older_copy_of_the_book_makes_no_second_approval(office):
    """The file cannot notice that; the ledger does."""
    office.rules(count=1)
    path = office.book.file.path
    before = path.read_bytes()
    other = office.write_data([7.0], "other.parquet")
    office.yes(office.ask(other))
    path.write_bytes(before)
    path.chmod(0o600)
    office.yes()  # the very same code
    first, second = office.logged()
    assert first.factor_digest == second.factor_digest
    assert not office.may_deploy()


# Security keys.


def enrol_key(office: Office, name: str = "ana", **options) -> SoftKey:
    key = SoftKey(**options)
    wanted = registration_options(name, rp_id=RP, challenge=bytes(32))
    credential = register(key.create(wanted, ORIGIN), challenge=bytes(32), rp_id=RP, origin=ORIGIN)
    office.book.enrol_webauthn(name, credential)
    return key


def touch(office: Office, key: SoftKey, request: ApprovalRequest, name: str = "ana") -> dict:
    options = assertion_options(office.book.find(name).keys, question=request.question)
    return key.get(options, ORIGIN)


def test_a_security_key_approves(office):
    key, request = enrol_key(office), office.ask()
    office.yes(request, code=None, assertion=touch(office, key, request))
    assert office.may_deploy()
    (statement,) = office.logged()
    assert statement.factor == "webauthn"
    evidence = open_evidence(load_policy(office.policy))
    document = evidence.report_path(statement.factor_digest).read_bytes()
    assert Digest.of(document) == statement.factor_digest
    assert parse_json(document)["question"]["binding"] == statement.binding.hex


@pytest.mark.parametrize("counts", [True, False])
def test_an_assertion_is_good_for_one_request(office, counts):
    key, request = enrol_key(office, counts=counts), office.ask()
    answer = touch(office, key, request)
    office.yes(request, code=None, assertion=answer)
    with pytest.raises(ClearanceRefused, match="answered before"):
        office.yes(request, code=None, assertion=answer)
    for other in (
        office.ask(),
        office.ask(run="r"),
        office.ask(office.write_data([9.0], "x.parquet")),
    ):
        with pytest.raises(ClearanceRefused, match="challenge"):
            office.yes(other, code=None, assertion=answer)


def test_the_key_of_another_person_is_refused(office):
    key, request = enrol_key(office, "bo"), office.ask()
    enrol_key(office, "ana")
    with pytest.raises(ClearanceRefused, match="no security key of this approver"):
        office.yes(request, code=None, assertion=touch(office, key, request, "bo"))


def test_a_key_is_enrolled_for_one_person(office):
    key = enrol_key(office)
    wanted = registration_options("bo", rp_id=RP, challenge=bytes(32))
    key.counts = False
    key.count = 1
    same = register(key.create(wanted, ORIGIN), challenge=bytes(32), rp_id=RP, origin=ORIGIN)
    with pytest.raises(ConfigurationError, match="enrolled already"):
        office.book.enrol_webauthn("bo", same)


def test_not_two_factors_at_once(office):
    with pytest.raises(ConfigurationError, match="not both"):
        office.yes(assertion={})


# The file of approvers.


def test_the_book_is_private_and_tells_nothing(office):
    path = office.book.file.path
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.with_suffix(".key").stat().st_mode & 0o777 == 0o600
    content = path.read_bytes()
    for secret in office.secrets.values():
        assert secret.uri("ana").split("secret=")[1][:32].encode() not in content
    assert b"ana" not in content
    assert "secret" not in repr(SealedFile(path, b"secret"))


def test_every_change_of_the_book_is_noticed(office):
    path = office.book.file.path
    good = path.read_bytes()
    for at in range(0, len(good), 7):
        bent = bytearray(good)
        bent[at] ^= 1
        path.write_bytes(bent)
        with pytest.raises(KeyFileError):
            office.book.approvers()
    path.write_bytes(good[:-1])
    with pytest.raises(KeyFileError):
        office.yes()
    path.write_bytes(good)
    office.yes()


def test_a_book_that_others_can_read_is_not_used(office):
    office.book.file.path.chmod(0o640)
    with pytest.raises(KeyFileError, match="read by others"):
        office.yes()


def test_a_book_that_was_taken_away_approves_nothing(office):
    office.book.file.path.unlink()
    with pytest.raises(KeyFileError, match="cannot read"):
        office.yes()
    assert office.book.approvers() == ()


def test_a_link_in_place_of_the_book_is_not_followed(office):
    path = office.book.file.path
    copy = path.with_name("copy.json")
    shutil.move(path, copy)
    path.symlink_to(copy)
    with pytest.raises(KeyFileError):
        office.yes()


def test_a_password_opens_the_book(tmp_path):
    path = tmp_path / "approvers.json"
    book = ApproverBook(SealedFile(path, b"correct horse"))
    secret = book.enrol_totp("ana", algorithm="SHA256")
    assert not path.with_suffix(".key").exists()
    assert book.find("ana").totp == secret
    with pytest.raises(KeyFileError, match="password is wrong"):
        ApproverBook(SealedFile(path, b"wrong")).approvers()
    with pytest.raises(KeyFileError, match="under a password"):
        ApproverBook(SealedFile(path)).approvers()


def test_a_book_without_password_does_not_replace_one_with(tmp_path):
    path = tmp_path / "approvers.json"
    ApproverBook(SealedFile(path)).enrol_totp("ana")
    with pytest.raises(KeyFileError, match="not under the password"):
        ApproverBook(SealedFile(path, b"secret")).approvers()


def test_a_weaker_derivation_is_not_accepted(tmp_path):
    path = tmp_path / "approvers.json"
    book = ApproverBook(SealedFile(path, b"secret"))
    book.enrol_totp("ana")
    document = json.loads(path.read_bytes())
    document["header"]["key"]["n"] = 2
    path.write_text(json.dumps(document))
    with pytest.raises(KeyFileError, match="damaged"):
        book.approvers()


def test_enrolment(office):
    with pytest.raises(ConfigurationError, match="already"):
        office.book.enrol_totp("ana")
    office.book.remove("ana")
    with pytest.raises(ClearanceRefused, match="not enrolled"):
        office.yes()
    with pytest.raises(ClearanceRefused, match="not enrolled"):
        office.book.remove("ana")
    assert [one.name for one in office.book.approvers()] == ["bo", "eve"]
    for name in ("", " ana", "a:b", "a/b", "ána", "a\nb", "x" * 101):
        with pytest.raises(ConfigurationError, match="name"):
            office.book.enrol_totp(name)
    office.book.enrol_totp("Ana Lopez <ana@example.org>")


# How approvals are counted, without a ledger.


@dataclass
class Desk:
    """Makes records that keys of the policy signed."""

    subject: Subject
    index: int = 0

    def says(self, who: str = "ana", *, approved: bool = True, key: str = "desk", **more) -> Record:
        self.index += 1
        objection = more.pop("objection", "")
        index = more.pop("index", self.index)
        values = {
            "subject": self.subject,
            "action": "deploy",
            "for_run": "",
            "approver": who,
            "approved": approved,
            "factor": "totp",
            "factor_digest": Digest.of(b"%d" % self.index),
            "expires": NOW + timedelta(hours=1),
            "issued": NOW,
            "run": RunIdentity(orchestrator="cli"),
        }
        return Record(
            index=index,
            digest=Digest.of(b"r%d" % self.index),
            payload=Digest.of(b"p%d" % self.index),
            statement=ApprovalStatement(**(values | more)),
            key=key,
            key_id=key,
            objection=objection,
        )


@pytest.fixture
def desk() -> Desk:
    return Desk(Subject.of_document("model", b"weights"))


def judge(desk: Desk, records: list[Record], need: Approvals | None = None, **more) -> list[Record]:
    options = {
        "subject": desk.subject.digest,
        "action": "deploy",
        "now": NOW,
        "may_sign": lambda key, who: key == "desk" and who in ("ana", "bo", "eve"),
    }
    return judge_approvals(records, need or Approvals(by=("ana", "bo")), **(options | more))


def who(records: list[Record]) -> list[str]:
    return [record.statement.approver for record in records]


def test_counts_the_latest_approval_of_each(desk):
    records = [desk.says(), desk.says("bo"), desk.says()]
    assert [record.index for record in judge(desk, records)] == [2, 3]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"who": "eve"}, "does not name"),
        ({"key": "gates"}, "may not sign approvals of ana"),
        ({"who": "cy"}, "may not sign approvals of cy"),
        ({"for_run": "r1"}, "is for the run 'r1'"),
        ({"action": "train"}, "found none"),
        ({"subject": Subject.of_document("model", b"other")}, "found none"),
        ({"expires": NOW}, "expired"),
        ({"issued": NOW + timedelta(minutes=6)}, "future"),
        ({"issued": NOW - timedelta(hours=2)}, "older than"),
        ({"factor": "none"}, "not confirmed by a second factor"),
        ({"factor": "TOTP"}, "not confirmed by a second factor"),
        ({"objection": "its key expired"}, "its key expired"),
    ],
)
def test_what_does_not_count(desk, change, why):
    need = Approvals(by=("ana", "bo"), max_age=timedelta(hours=1))
    with pytest.raises(ClearanceRefused, match=why):
        judge(desk, [desk.says(**change)], need)
    assert who(judge(desk, [desk.says(**change), desk.says("bo")], need)) == ["bo"]


def test_near_misses_count(desk):
    need = Approvals(by=("ana",), max_age=timedelta(hours=1))
    edge = desk.says(issued=NOW - timedelta(hours=1), expires=NOW + timedelta(seconds=1))
    assert judge(desk, [edge], need) == [edge]
    skewed = desk.says(issued=NOW + timedelta(minutes=5))
    assert judge(desk, [skewed], need) == [skewed]
    bound = desk.says(for_run="r1")
    assert judge(desk, [bound], need, run="r1") == [bound]
    bare = desk.says(factor="none")
    assert judge(desk, [bare], replace(need, second_factor=False)) == [bare]


def test_nobody_is_nobody(desk):
    with pytest.raises(ClearanceRefused, match="found none"):
        judge(desk, [])


def test_two_are_two(desk):
    need = Approvals(by=("ana", "bo"), count=2)
    with pytest.raises(ClearanceRefused, match="found ana"):
        judge(desk, [desk.says(), desk.says()], need)
    assert who(judge(desk, [desk.says("bo"), desk.says()], need)) == ["bo", "ana"]


def test_a_second_factor_counts_once_in_the_whole_ledger(desk):
    digest = Digest.of(b"one code")
    elsewhere = desk.says(
        subject=Subject.of_document("model", b"other"), action="train", factor_digest=digest
    )
    again = desk.says(factor_digest=digest)
    with pytest.raises(ClearanceRefused, match="used before"):
        judge(desk, [elsewhere, again])
    with pytest.raises(ClearanceRefused, match="used before"):
        judge(desk, [again, elsewhere])  # the ledger's order counts, not the list's
    need = Approvals(by=("ana", "bo"), count=2)
    with pytest.raises(ClearanceRefused, match="found ana"):
        judge(
            desk,
            [
                desk.says(factor_digest=Digest.of(b"x")),
                desk.says("bo", factor_digest=Digest.of(b"x")),
            ],
            need,
        )


def test_a_key_that_may_not_sign_uses_nothing_up(desk):
    digest = Digest.of(b"one code")
    forged = desk.says(key="gates", factor_digest=digest)
    real = desk.says(factor_digest=digest)
    assert judge(desk, [forged, real]) == [real]


def test_refusals(desk):
    yes, no = desk.says(), desk.says(approved=False, factor="none")
    with pytest.raises(ClearanceRefused, match="ana refused in entry 2"):
        judge(desk, [yes, no])
    later = desk.says()
    assert judge(desk, [yes, no, later]) == [later]
    assert who(judge(desk, [desk.says("bo"), no])) == ["bo"]


def test_a_refusal_does_not_expire_and_outlives_its_key(desk):
    yes = desk.says(expires=NOW + timedelta(days=9))
    no = desk.says(approved=False, expires=NOW + timedelta(seconds=1), objection="key expired")
    with pytest.raises(ClearanceRefused, match="refused"):
        judge(desk, [yes, no], now=NOW + timedelta(days=1))


def test_a_refusal_by_the_wrong_key_says_nothing(desk):
    yes = desk.says()
    assert judge(desk, [yes, desk.says(approved=False, key="gates")]) == [yes]


@pytest.mark.parametrize(
    ("about", "run", "stands"),
    [
        ("", None, False),
        ("", "r1", False),
        ("r1", "r1", False),
        ("r1", None, False),
        ("r1", "", False),
        ("r2", "r1", True),
    ],
)
def test_a_refusal_is_about_its_run(desk, about, run, stands):
    records = [desk.says(), desk.says(approved=False, for_run=about)]
    if stands:
        assert judge(desk, records, run=run) == records[:1]
    else:
        with pytest.raises(ClearanceRefused, match="refused"):
            judge(desk, records, run=run)


def test_an_expired_approval_does_not_withdraw_an_earlier_one(desk):
    long, short = desk.says(expires=NOW + timedelta(days=9)), desk.says()
    assert judge(desk, [long, short], now=NOW + timedelta(days=1)) == [long]


def test_other_statements_are_passed_over(desk):
    yes = desk.says()
    other = replace(yes, statement=Subject.of_document("x", b"y"), index=9)
    assert judge(desk, [other, yes]) == [yes]


# The command line.


def cli(*words: str) -> int:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    for add in (add_approve, add_approvals, add_approvers):
        add(commands)
    args = parser.parse_args(words)
    try:
        return args.run(args)
    except (Decision, SluicegateError) as error:
        return report_failure(error, as_json=args.json)


@pytest.fixture
def desk_key(office, monkeypatch) -> Office:
    monkeypatch.setenv("SLUICEGATE_POLICY", str(office.policy))
    monkeypatch.setenv("SLUICEGATE_SIGNING_KEY", str(office.folder / "desk.key.pem"))
    return office


def now_code(office: Office, name: str) -> str:
    return office.secrets[name].code(step_of(time.time()))


def test_approving_and_refusing_by_command(desk_key, capsys):
    office = desk_key
    words = ["approve", str(office.data), "--purpose", "deploy", "--as", "ana", "--json"]
    code = now_code(office, "ana")
    assert cli(*words, "--code", code, "--reason", "read it", "--expires", "30m") == 0
    out, err = capsys.readouterr()
    value = json.loads(out)
    assert value["outcome"] == "approved"
    assert value["request"]["code"] == value["request"]["binding"][:8]
    assert value["request"]["code"] in err, "a person compares it"
    assert Path(value["receipt"]).is_file()
    (statement,) = office.logged()
    assert statement.expires - statement.issued == timedelta(minutes=30)
    assert office.may_deploy()
    assert cli(*words, "--code", code) == 1
    assert json.loads(capsys.readouterr().out)["outcome"] == "refused"
    assert cli(*words, "--refuse", "--reason", "no") == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "refused"
    assert not office.may_deploy()
    assert cli("approvals", "list", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["decision"] for row in rows] == ["approved", "refused"]
    assert rows[0]["reason"] == "read it"
    assert cli("approvals", "list") == 0
    assert "ana" in capsys.readouterr().out


def test_the_command_asks_where_somebody_is_and_stops_where_nobody_is(
    desk_key, capsys, monkeypatch
):
    office = desk_key
    words = ["approve", str(office.data), "--purpose", "deploy", "--as", "bo"]
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert cli(*words) == 2
    assert "no terminal" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: now_code(office, "bo"))
    assert cli(*words, "--run", "r7") == 0
    assert "approved by bo" in capsys.readouterr().out
    assert office.may_deploy(run="r7")
    assert not office.may_deploy()


def test_refusals_of_the_command(desk_key, capsys):
    office = desk_key
    words = ["approve", str(office.data), "--purpose", "deploy", "--as"]
    for more, code in [
        (["eve", "--code", "123456"], 1),
        (["ana", "--code", "12345x"], 1),
        (["cy", "--code", "123456"], 2),
        (["ana", "--security-key"], 2),
        (["ana", "--code", "123456", "--expires", "tomorrow"], 2),
        (["ana", "--code", "123456", "--key", str(office.folder / "none.pem")], 2),
    ]:
        assert cli(*words, *more) == code, more
    assert office.logged() == []


def test_a_security_key_in_the_terminal(desk_key, capsys, monkeypatch):
    office = desk_key
    client = SoftClient()
    for module in ("approve", "approvers"):
        monkeypatch.setattr(f"sluicegate.cli.{module}.open_key", lambda *_, **__: client)
    assert cli("approvers", "enrol", "ana", "--webauthn") == 0
    words = ["approve", str(office.data), "--purpose", "deploy", "--as", "ana", "--security-key"]
    assert cli(*words) == 0
    assert office.logged()[0].factor == "webauthn"
    assert office.may_deploy()


def test_enrolment_by_command(office, capsys, monkeypatch):
    monkeypatch.setenv("SLUICEGATE_POLICY", str(office.policy))
    assert cli("approvers", "enrol", "cy", "--json", "--algorithm", "SHA256") == 0
    value = json.loads(capsys.readouterr().out)
    assert office.book.find("cy").totp.uri("cy") == value["uri"]
    assert cli("approvers", "enrol", "cy") == 2
    out, err = capsys.readouterr()
    assert "otpauth" not in out + err, "shown once"
    assert cli("approvers", "list") == 0
    out, _ = capsys.readouterr()
    assert "cy" in out
    assert "otpauth" not in out
    assert cli("approvers", "remove", "cy", "--json") == 0
    assert cli("approvers", "remove", "cy") == 1
    capsys.readouterr()
    assert cli("approvers", "enrol", "zoe") == 0
    assert "no purpose" in capsys.readouterr().out
    policy = load_policy(office.policy)
    events = [
        one.statement
        for one in LedgerRecords(open_evidence(policy), policy, datetime.now(UTC))
        if isinstance(one.statement, EventStatement)
    ]
    assert [one.kind for one in events if one.kind.startswith("approver.")] == [
        "approver.enrolled",
        "approver.removed",
        "approver.enrolled",
    ]
    assert value["uri"].split("secret=")[1][:32] not in json.dumps([e.to_json() for e in events])


def test_enrolment_where_only_approvals_are_signed_says_that_it_is_not_logged(desk_key, capsys):
    assert cli("approvers", "enrol", "cy") == 0
    assert "not in the ledger" in capsys.readouterr().err


def test_importing_loads_nothing_heavy():
    import subprocess
    import sys

    code = (
        "import sys, sluicegate.approving, sluicegate.approving.security_key, sluicegate.session;"
        "print([m for m in ('fido2', 'boto3', 'numpy', 'pandas', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "[]"
