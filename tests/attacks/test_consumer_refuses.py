"""What an attacker tries on a consumer. Each is refused with an error that names what and why."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from sluicegate.canonical import Digest
from sluicegate.clearance import Clearance, open_cleared, requires_clearance
from sluicegate.cli.pipelines import forge_verdict
from sluicegate.errors import (
    ClearanceRefused,
    ConfigurationError,
    LedgerError,
    PolicyError,
    SubjectChangedError,
    SubjectError,
)
from sluicegate.evidence import Evidence, ReceiptRef
from sluicegate.gate import gate, run_gate
from sluicegate.policy.load import load_policy
from sluicegate.receipts.bundle import Bundle, seal
from sluicegate.receipts.statement import Subject, parse_statement, write_statement
from sluicegate.signing import default_key_path
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri
from tests.scenes import POLICY, CountRows, FlagNegatives

QUARANTINED = [1, 2, -3, 4, 5, 6]
WAIVER = """\
waivers:
  - {{check: toy.sign, subject: "*", owner: ann, reason: known, expires: {expires}}}
"""


@pytest.fixture
def cleared(scene):
    """Return a clearance that opens."""
    clearance = scene.run(scene.write_data([1, 2, 3, 4])).clearance
    scene.open(clearance)
    return clearance


def local(clearance):
    return Path(clearance.uri.removeprefix("file://"))


# -- receipts -------------------------------------------------------------------------------


def test_an_edited_receipt_file_is_refused(scene, cleared):
    path = Evidence(scene.evidence).receipt_path(cleared.receipts[0].digest)
    path.write_bytes(path.read_bytes().replace(b'"keyid":""', b'"keyid":"x"'))
    with pytest.raises(ClearanceRefused, match="was edited"):
        scene.open(cleared)


def test_a_deleted_receipt_file_is_refused(scene, cleared):
    Evidence(scene.evidence).receipt_path(cleared.receipts[0].digest).unlink()
    with pytest.raises(ClearanceRefused, match="is missing"):
        scene.open(cleared)


def test_a_receipt_rewritten_and_logged_again_fails_its_signature(scene):
    """The attacker may write to the ledger, and adds a verdict that was turned around."""
    data = scene.write_data(QUARANTINED)
    outcome = run_gate(FlagNegatives(), data, scene.policy)
    counted = run_gate(CountRows(at_least=3), data, scene.policy)
    evidence = Evidence(scene.evidence)
    forged = evidence.log(forge_verdict(evidence.receipt(outcome.receipt)))
    made_up = dataclasses.replace(counted.clearance, receipts=(forged, counted.receipt))
    with pytest.raises(ClearanceRefused, match="signature is not by key"):
        scene.open(made_up)
    with pytest.raises(ClearanceRefused, match="needs flag-negatives"):
        scene.open(data)


def test_a_receipt_replayed_for_other_data_is_refused(scene, cleared):
    other = scene.write_data([-7, -8, -9], "other.parquet")
    with pytest.raises(ClearanceRefused, match="is not what was cleared"):
        scene.open(dataclasses.replace(cleared, uri=str(other)))
    with pytest.raises(ClearanceRefused, match="no receipt for it speaks for"):
        scene.open(other)


def test_a_replayed_receipt_does_not_fit_a_forged_digest_either(scene, cleared):
    other = scene.write_data([-7, -8, -9], "other.parquet")
    digest = run_gate(CountRows(at_least=3), other, scene.policy).clearance.digest
    with pytest.raises(ClearanceRefused, match="needs flag-negatives"):
        scene.open(dataclasses.replace(cleared, uri=str(other), digest=digest))


def test_a_key_that_the_policy_does_not_know_is_refused(scene):
    mallory = scene.other_key("mallory")
    weak = scene.folder / "weak.yaml"
    weak.write_text(POLICY.partition("keys:")[0])
    outcome = run_gate(FlagNegatives(), scene.write_data([1, 2, 3]), weak, signer=mallory)
    with pytest.raises(ClearanceRefused, match="does not trust"):
        scene.open(outcome.clearance)


def test_a_key_that_is_not_trusted_for_that_stage_is_refused(scene):
    counter = scene.other_key("counter")
    with_counter = POLICY + (
        "  - {name: counter, file: keys/counter.pub.pem, stages: [count-rows]}\n"
    )
    data = scene.write_data([1, 2, 3])
    open_to_all = scene.folder / "open.yaml"
    open_to_all.write_text(POLICY.partition("keys:")[0])
    outcome = run_gate(FlagNegatives(), data, open_to_all, signer=counter)
    scene.write_policy(with_counter)
    with pytest.raises(ClearanceRefused, match="not trusted for flag-negatives, only for count"):
        scene.open(outcome.clearance)


def test_an_expired_key_is_refused_even_for_receipts_of_its_time(scene, cleared):
    scene.write_policy(POLICY + "    not_after: 2020-01-01\n")
    with pytest.raises(ClearanceRefused, match="expired on 2020-01-01"):
        scene.open(cleared)


def test_a_receipt_from_the_future_is_refused(scene, cleared):
    with pytest.raises(ClearanceRefused, match="issued in the future"):
        scene.open(cleared, now=datetime.now(UTC) - timedelta(hours=1))


def test_an_expired_receipt_is_refused(scene, cleared):
    scene.open(cleared, now=datetime.now(UTC) + timedelta(days=6, hours=23))
    with pytest.raises(ClearanceRefused, match="older than 7 days"):
        scene.open(cleared, now=datetime.now(UTC) + timedelta(days=7, minutes=1))


def test_a_missing_stage_is_refused(scene):
    clearance = gate(FlagNegatives(), scene.write_data([1, 2, 3]), scene.policy)
    with pytest.raises(ClearanceRefused, match="needs count-rows"):
        scene.open(clearance)


def test_another_configuration_of_the_stage_does_not_count(scene):
    first = gate(FlagNegatives(forbidden=-1000), scene.write_data([1, 2, 3]), scene.policy)
    clearance = gate(CountRows(at_least=3), first, scene.policy)
    with pytest.raises(ClearanceRefused, match="another configuration"):
        scene.open(clearance)


def test_a_clearance_without_receipts_is_refused(scene, cleared):
    with pytest.raises(ClearanceRefused, match="needs flag-negatives"):
        scene.open(dataclasses.replace(cleared, receipts=()))


def test_references_to_what_the_ledger_does_not_hold_are_refused(scene, cleared):
    ref = cleared.receipts[0]
    for forged in (
        ReceiptRef(99, ref.digest),
        ReceiptRef(ref.index, Digest.of(b"made up")),
        ReceiptRef(ref.index + 1, ref.digest),
    ):
        with pytest.raises((ClearanceRefused, LedgerError), match="entry"):
            scene.open(dataclasses.replace(cleared, receipts=(forged, *cleared.receipts[1:])))


def test_a_receipt_that_was_never_logged_is_refused(scene, cleared):
    """Signed by the right key, but kept out of the ledger."""
    policy = load_policy(scene.policy)
    outcome = run_gate(CountRows(at_least=3), scene.data, policy)
    secret = seal(write_statement(outcome.statement), scene.signer)
    path = Evidence(scene.evidence).receipt_path(Digest.of(secret))
    path.write_bytes(secret)
    forged = ReceiptRef(0, Digest.of(secret))
    with pytest.raises(ClearanceRefused, match="is not the receipt"):
        scene.open(dataclasses.replace(cleared, receipts=(*cleared.receipts, forged)))


def test_a_later_block_on_the_same_bytes_revokes(scene, cleared, monkeypatch):
    """A newer detector, or a rerun, found what the first one did not."""
    original = FlagNegatives.run

    def stricter(self, snapshot, context):
        return original(dataclasses.replace(self, forbidden=4), snapshot, context)

    monkeypatch.setattr(FlagNegatives, "run", stricter)
    assert run_gate(FlagNegatives(), scene.data, scene.policy).clearance is None
    with pytest.raises(ClearanceRefused, match="says block"):
        scene.open(cleared)
    with pytest.raises(ClearanceRefused, match="says block"):
        scene.open(scene.data)


# -- policy ---------------------------------------------------------------------------------


def test_a_policy_weakened_after_the_fact_is_refused(scene):
    """The gate quarantined; the attacker drops the stage from what training needs."""
    data = scene.write_data(QUARANTINED)
    counted = gate(CountRows(at_least=3), data, scene.policy)
    scene.write_policy(POLICY.replace("      - flag-negatives\n", ""))
    with pytest.raises(ClearanceRefused, match="made under other rules"):
        scene.open(counted)


def test_a_waiver_added_after_the_fact_is_refused(scene, cleared):
    scene.write_policy(POLICY + WAIVER.format(expires="2999-01-01"))
    with pytest.raises(ClearanceRefused, match="made under other rules"):
        scene.open(cleared)


def test_a_verdict_that_rests_on_a_waiver_ends_with_it(scene):
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    scene.write_policy(POLICY + WAIVER.format(expires=tomorrow))
    clearance = scene.run(scene.write_data(QUARANTINED)).clearance
    assert len(scene.open(clearance).read_frame()) == len(QUARANTINED)
    with pytest.raises(ClearanceRefused, match=r"waiver of toy\.sign by ann, which expired"):
        scene.open(clearance, now=datetime.now(UTC) + timedelta(days=2))


def test_a_reworded_policy_that_says_the_same_keeps_receipts_valid(scene, cleared):
    scene.write_policy("# a comment\n" + POLICY.replace("max_age: 7d", "max_age:   168h"))
    scene.open(cleared)


def test_a_purpose_that_the_policy_does_not_know_is_an_error(scene, cleared):
    with pytest.raises(PolicyError, match="did you mean 'train'"):
        open_cleared(cleared, purpose="trian", policy=scene.policy)


# -- the subject ----------------------------------------------------------------------------


def test_a_swapped_subject_is_refused(scene, cleared):
    scene.write_data([6, 6, 6])
    with pytest.raises(ClearanceRefused, match="is not what was cleared"):
        scene.open(cleared)


def test_a_subject_swapped_between_the_check_and_the_read_is_refused(scene, cleared):
    dataset = scene.open(cleared)
    scene.write_data([6, 6, 6])
    with pytest.raises(SubjectChangedError, match="changed after its snapshot"):
        dataset.read_frame()


def test_what_is_copied_out_is_what_was_cleared(scene, cleared, tmp_path):
    dataset = scene.open(cleared)
    copy = dataset.copy_to(tmp_path / "private")
    scene.write_data([6, 6, 6])
    assert pd.read_parquet(copy)["value"].tolist() == [1, 2, 3, 4]


def test_the_same_bytes_under_another_name_are_another_subject(scene, cleared):
    shutil.copy(scene.data, scene.folder / "data.csv")
    with pytest.raises(ClearanceRefused, match="is not what was cleared"):
        scene.open(dataclasses.replace(cleared, uri=str(scene.folder / "data.csv")))


@pytest.fixture
def lake(scene):
    for number in range(3):
        scene.write_data([number, number + 1], f"lake/part-{number}.parquet")
    return scene.folder / "lake"


def test_a_file_added_after_the_snapshot_is_refused(scene, lake):
    clearance = scene.run(lake).clearance
    scene.write_data([-1], "lake/part-9.parquet")
    with pytest.raises(ClearanceRefused, match="is not what was cleared"):
        scene.open(clearance)


def test_a_hidden_file_counts_as_well(scene, lake):
    clearance = scene.run(lake).clearance
    (lake / ".hidden").write_text("x")
    with pytest.raises(ClearanceRefused, match="is not what was cleared"):
        scene.open(clearance)


def test_files_that_trade_names_are_refused(scene, lake):
    clearance = scene.run(lake).clearance
    (lake / "part-0.parquet").rename(lake / "swap")
    (lake / "part-1.parquet").rename(lake / "part-0.parquet")
    (lake / "swap").rename(lake / "part-1.parquet")
    with pytest.raises(ClearanceRefused, match="is not what was cleared"):
        scene.open(clearance)


def test_a_symbolic_link_out_of_the_tree_is_refused(scene, lake):
    clearance = scene.run(lake).clearance
    content = (lake / "part-1.parquet").read_bytes()
    outside = scene.folder / "outside.parquet"
    outside.write_bytes(content)
    (lake / "part-1.parquet").unlink()
    (lake / "part-1.parquet").symlink_to(outside)
    with pytest.raises(SubjectError, match=r"symbolic link: part-1\.parquet"):
        scene.open(clearance)
    with pytest.raises(SubjectError, match="symbolic link"):
        gate(FlagNegatives(), lake, scene.policy)


def test_a_folder_behind_a_symbolic_link_is_refused(scene, lake):
    (scene.folder / "elsewhere").mkdir()
    (lake / "more").symlink_to(scene.folder / "elsewhere", target_is_directory=True)
    with pytest.raises(SubjectError, match="symbolic link: more"):
        gate(FlagNegatives(), lake, scene.policy)


# -- the clearance --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "forged",
    [
        {},
        {"verdict": "allow"},
        {"kind": "sluicegate-clearance/v1", "uri": "x", "digest": "sha256:0", "receipts": []},
        {
            "kind": "sluicegate-clearance/v1",
            "uri": "x",
            "digest": "md5:" + "0" * 32,
            "receipts": [],
        },
        True,
        None,
        ["x"],
        42,
    ],
)
def test_a_forged_clearance_is_refused(scene, forged):
    with pytest.raises(ClearanceRefused, match="clearance"):
        scene.open(forged)


def test_a_data_frame_is_not_a_clearance(scene, cleared):
    with pytest.raises(ClearanceRefused, match="found DataFrame"):
        scene.open(pd.DataFrame({"value": [1]}))


def test_a_clearance_survives_json(scene, cleared):
    copy = Clearance.from_json(json.loads(json.dumps(cleared.to_json())))
    assert copy == cleared
    scene.open(cleared.to_json())


def test_a_consumer_runs_only_on_verified_data(scene, cleared):
    trained = []

    @requires_clearance("train", policy=scene.policy)
    def train(dataset, epochs=1):
        trained.append(len(dataset.read_frame()))

    train(cleared)
    train(dataset=cleared.to_json(), epochs=2)
    train(str(scene.data))  # verified by its bytes: the same receipts speak for it
    for call in (
        lambda: train(str(scene.write_data([9, 9, 9], "raw.parquet"))),
        lambda: train({"verdict": "allow"}),
        lambda: train(epochs=3),
    ):
        with pytest.raises((ClearanceRefused, TypeError)):
            call()
    assert trained == [4, 4, 4]


# -- the ledger -----------------------------------------------------------------------------


def read_by_consumers(scene):
    """Return the files of the ledger that a reader needs: not the journal, no old partial tile."""
    ledger = scene.evidence / "ledger"
    size = (ledger / "checkpoint").read_text().split("\n")[1]
    return [ledger / "checkpoint", *ledger.glob(f"tile/*/000.p/{size}")]


def test_a_damaged_ledger_is_an_error_and_no_pass(scene, cleared):
    assert len(read_by_consumers(scene)) == 3
    for path in read_by_consumers(scene):
        content = path.read_bytes()
        for at in (0, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            with pytest.raises(LedgerError):
                scene.open(cleared)
        path.write_bytes(content)
    assert scene.open(cleared)


def test_a_truncated_ledger_is_an_error_and_no_pass(scene, cleared):
    for path in read_by_consumers(scene):
        content = path.read_bytes()
        for length in (0, len(content) // 2, len(content) - 1):
            os.truncate(path, length)
            with pytest.raises(LedgerError):
                scene.open(cleared)
            path.write_bytes(content)


def test_a_ledger_that_was_thrown_away_is_an_error_and_no_pass(scene, cleared):
    shutil.rmtree(scene.evidence / "ledger")
    with pytest.raises(LedgerError, match="no entry 0"):
        scene.open(cleared)
    with pytest.raises(ClearanceRefused, match="needs flag-negatives"):
        scene.open(scene.data)


# -- quarantine -----------------------------------------------------------------------------


def test_the_whole_does_not_pass_under_the_receipts_of_its_remainder(scene):
    clearance = scene.run(scene.write_data(QUARANTINED)).clearance
    with pytest.raises(ClearanceRefused, match="is not what was cleared"):
        scene.open(dataclasses.replace(clearance, uri=str(scene.data)))


def test_what_was_set_aside_is_not_cleared(scene):
    outcome = run_gate(FlagNegatives(), scene.write_data(QUARANTINED), scene.policy)
    with pytest.raises(ClearanceRefused, match="no receipt for it speaks for"):
        scene.open(outcome.set_aside)


def test_a_remainder_needs_its_derivation(scene):
    clearance = scene.run(scene.write_data(QUARANTINED)).clearance
    verdict, derivation, count = clearance.receipts
    for kept in ((verdict, count), (derivation, count)):
        with pytest.raises(ClearanceRefused, match="needs flag-negatives"):
            scene.open(dataclasses.replace(clearance, receipts=kept))


def test_a_derivation_by_a_key_that_may_not_derive_is_refused(scene):
    scene.write_policy(POLICY.replace(", quarantine]", "]"))
    policy_for_all = scene.folder / "all.yaml"
    policy_for_all.write_text(POLICY)
    clearance = gate(FlagNegatives(), scene.write_data(QUARANTINED), policy_for_all)
    with pytest.raises(ClearanceRefused, match="not trusted for quarantine"):
        scene.open(clearance)


def test_the_signing_key_is_not_what_a_consumer_needs(scene, cleared):
    default_key_path(scene.evidence).unlink()
    scene.open(cleared)


def test_nothing_secret_and_no_value_stands_in_a_receipt(scene):
    scene.write_data([123456789, 2, -3, 4, 5, 6])
    scene.run(scene.data)
    for _, bundle in Evidence(scene.evidence).receipts():
        payload = base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"])
        assert b"123456789" not in payload
        assert b"PRIVATE" not in payload


def test_a_consumer_that_yields_runs_only_on_verified_data(scene, cleared):
    @requires_clearance("train", policy=scene.policy)
    def train(dataset):
        yield len(dataset.read_frame())

    assert list(train(cleared)) == [4]
    with pytest.raises(ClearanceRefused):
        list(train({"verdict": "allow"}))


def test_a_consumer_that_cannot_be_guarded_is_refused_when_it_is_decorated(scene):
    with pytest.raises(ConfigurationError, match="asynchronous generator"):

        @requires_clearance("train", policy=scene.policy)
        async def train(dataset):
            yield dataset

    with pytest.raises(ConfigurationError, match="no parameter 'data'"):

        @requires_clearance("train", policy=scene.policy, argument="data")
        def other(dataset):
            return dataset


def test_the_reason_that_matters_comes_before_receipts_about_other_data(scene):
    for number in range(8):
        run_gate(FlagNegatives(), scene.write_data([number, 1, 2]), scene.policy)
    assert run_gate(FlagNegatives(), scene.write_data([-999, 1]), scene.policy).clearance is None
    for number in range(8):
        run_gate(FlagNegatives(), scene.write_data([number, 3, 4], "other.parquet"), scene.policy)
    with pytest.raises(ClearanceRefused, match="entry 8 says block; 8 receipts are about other"):
        scene.open(scene.data)


# -- what speaks against a subject ----------------------------------------------------------


@pytest.fixture
def blocked(scene, cleared, monkeypatch):
    """Return the cleared data after the same stage said no to the same bytes."""
    original = FlagNegatives.run

    def stricter(self, snapshot, context):
        return original(dataclasses.replace(self, forbidden=4), snapshot, context)

    with monkeypatch.context() as patch:
        patch.setattr(FlagNegatives, "run", stricter)
        assert run_gate(FlagNegatives(), scene.data, scene.policy).clearance is None
    return cleared


def refused_both_ways(scene, clearance, **options):
    for subject in (clearance, scene.data):
        with pytest.raises(ClearanceRefused, match="says block"):
            scene.open(subject, **options)


@pytest.mark.parametrize("wrap", [lambda bundle: bundle, lambda bundle: b" " + bundle])
def test_an_old_receipt_that_is_logged_again_is_no_newer(scene, blocked, wrap):
    evidence = Evidence(scene.evidence)
    refused_both_ways(scene, blocked)
    for ref in blocked.receipts:
        again = evidence.log(wrap(evidence.ledger.get(ref.index)))
    refused_both_ways(scene, blocked)
    with pytest.raises(ClearanceRefused, match="says block"):
        scene.open(dataclasses.replace(blocked, receipts=(*blocked.receipts, again)))


def test_a_no_does_not_expire_with_its_key_or_its_age(scene, blocked):
    refused_both_ways(scene, blocked, now=datetime.now(UTC) + timedelta(days=3))
    scene.write_policy(POLICY + "    not_after: 2999-01-01\n")
    refused_both_ways(scene, blocked)


def test_a_no_about_the_remainder_counts_against_the_verdict_on_the_whole(scene, monkeypatch):
    clearance = scene.run(scene.write_data(QUARANTINED)).clearance
    scene.open(clearance)
    original = FlagNegatives.run
    monkeypatch.setattr(
        FlagNegatives,
        "run",
        lambda self, *args: original(dataclasses.replace(self, forbidden=4), *args),
    )
    assert run_gate(FlagNegatives(), local(clearance), scene.policy).clearance is None
    for subject in (clearance, clearance.uri):
        with pytest.raises(ClearanceRefused, match="says block"):
            scene.open(subject)


def test_running_the_same_quarantine_again_takes_nothing_back(scene):
    clearance = scene.run(scene.write_data(QUARANTINED)).clearance
    scene.run(scene.data)
    scene.open(clearance)
    scene.open(clearance.uri)


def test_a_quarantine_that_sets_more_aside_takes_the_old_remainder_back(scene, monkeypatch):
    clearance = scene.run(scene.write_data([*QUARANTINED, 7, 8])).clearance
    original = FlagNegatives.run

    def finds_more(self, snapshot, context):
        report = original(self, snapshot, context)
        (finding,) = report.checks[0].findings
        rows = (*finding.rows, dataclasses.replace(finding.rows[0], ordinal=7))
        check = dataclasses.replace(
            report.checks[0], findings=(dataclasses.replace(finding, rows=rows),)
        )
        return dataclasses.replace(report, checks=(check, *report.checks[1:]))

    monkeypatch.setattr(FlagNegatives, "run", finds_more)
    newer = scene.run(scene.data).clearance
    scene.open(newer)
    for subject in (clearance, clearance.uri):
        with pytest.raises(ClearanceRefused, match="says quarantine"):
            scene.open(subject)


def test_a_key_for_derivations_alone_cannot_pass_anything_off_as_a_remainder(scene):
    deriver = scene.other_key("deriver")
    scene.write_policy(
        POLICY.replace("      - count-rows: {at_least: 3}\n", "")
        + "  - {name: deriver, file: keys/deriver.pub.pem, stages: [quarantine]}\n"
    )
    run_gate(FlagNegatives(), scene.write_data(QUARANTINED), scene.policy)
    evidence = Evidence(scene.evidence)
    *_, (_, bundle) = evidence.receipts()
    derivation = parse_statement(Bundle.parse(bundle).verify(lambda _: scene.signer.public_key))
    evil = take_snapshot(SubjectUri.parse(scene.write_data([-5, -6], "evil.parquet")))
    forged = dataclasses.replace(derivation, subject=Subject.of(evil))
    evidence.log(seal(write_statement(forged), deriver))
    with pytest.raises(ClearanceRefused, match="needs flag-negatives"):
        scene.open(evil.uri)


def test_a_tolerated_warning_about_the_whole_does_not_speak_for_a_part(scene):
    """Half of the rows go; what was tolerated is twice the share it was."""
    scene.write_policy(
        POLICY
        + "rules:\n  flag-negatives:\n    checks:\n"
        + "      toy.sign: {failed: block, tolerate: {share: 20%}}\n"
    )
    outcome = run_gate(FlagNegatives(), scene.write_data([1, 2, 3, 4, -5]), scene.policy)
    assert outcome.statement.warned == ("toy.sign",)
    assert not outcome.statement.unreserved


def test_what_is_copied_out_does_not_mix_with_what_was_there(scene, cleared, tmp_path):
    target = tmp_path / "scratch"
    target.mkdir()
    (target / "left-over.parquet").write_bytes(b"x")
    with pytest.raises(ConfigurationError, match="not empty"):
        scene.open(cleared).copy_to(target)


@pytest.mark.parametrize(
    ("days", "change", "why"),
    [
        (-1, "", "issued in the future"),
        (2, "", r"waiver of toy\.sign by ann, which expired"),
        (0, "    not_after: 2020-01-01\n", "expired on 2020-01-01"),
    ],
)
def test_what_refuses_a_clearance_refuses_a_search_by_bytes_as_well(scene, days, change, why):
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    waiver = WAIVER.format(expires=tomorrow)
    scene.write_policy(POLICY + waiver)
    clearance = scene.run(scene.write_data(QUARANTINED)).clearance
    scene.open(scene.data)
    scene.write_policy(POLICY + change + waiver)
    for subject in (clearance, scene.data):
        with pytest.raises(ClearanceRefused, match=why):
            scene.open(subject, now=datetime.now(UTC) + timedelta(days=days))


def test_a_verdict_with_warnings_does_not_speak_for_the_remainder(scene):
    """So the gate asks again about the remainder, and the consumer needs that answer."""
    scene.write_policy(
        POLICY + "rules:\n  flag-negatives:\n    checks: {toy.forbidden: {failed: warn}}\n"
    )
    clearance = scene.run(scene.write_data([1, 2, -999, 4, 5, 6])).clearance
    verdict, derivation, again, count = clearance.receipts
    scene.open(clearance)
    with pytest.raises(ClearanceRefused, match="has warnings, and is about what this was taken"):
        scene.open(dataclasses.replace(clearance, receipts=(verdict, derivation, count)))
    assert again not in (verdict, derivation, count)
