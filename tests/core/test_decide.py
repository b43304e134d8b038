"""The decision table: every outcome, severity, rule, waiver and limit, and which one wins."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import combinations_with_replacement
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.model import Check, Finding, Report, RowId, Severity, Verdict
from sluicegate.policy.decide import decide
from sluicegate.policy.load import default_policy
from sluicegate.policy.model import CheckRule, Policy, RowLimit, StageRules, Waiver
from sluicegate.storage.uri import SubjectUri

SUBJECT = "s3://lake/digits/train.csv"
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
ALLOW, WARN, QUARANTINE, INCONCLUSIVE, BLOCK = Verdict
CRITICAL, WARNING, INFO = Severity


def judge(*checks, rows=100, now=NOW, waivers=(), **rules):
    policy = Policy(
        source="test",
        evidence=Path("/nowhere"),
        quarantine=SubjectUri.parse("/nowhere/q"),
        rules={"stage": StageRules(**rules)} if rules else {},
        waivers=tuple(waivers),
    )
    metrics = {} if rows is None else {"rows": rows}
    report = Report(checks=checks, metrics=metrics)
    return decide(report, policy, stage="stage", subject=SUBJECT, files=100, now=now)


def rows(*ordinals, file="a.csv"):
    return tuple(RowId(file, at) for at in ordinals)


def finding(*ordinals, files=(), message="it is wrong"):
    return Finding(message=message, rows=rows(*ordinals), files=files)


def failed(*findings, severity=WARNING, id="area.failed", target=""):
    return Check.failed(id, findings or [finding(1)], severity=severity, target=target)


PASSED = Check.passed("area.passed")
UNKNOWN = Check.unknown("area.unknown", "too little data")


def waiver(check="area.failed", subject=SUBJECT, expires=date(2026, 6, 30), owner="ana"):
    return Waiver(check=check, subject=subject, owner=owner, reason="known", expires=expires)


# ---------------------------------------------------------------- one check


@pytest.mark.parametrize(
    ("check", "verdict"),
    [
        (PASSED, ALLOW),
        (failed(severity=CRITICAL), BLOCK),
        (failed(severity=WARNING), QUARANTINE),
        (failed(severity=INFO), WARN),
        (UNKNOWN, INCONCLUSIVE),
        (Check.unknown("area.x", "why", severity=INFO), INCONCLUSIVE),
        (Check.unknown("area.x", "why", severity=CRITICAL), INCONCLUSIVE),
    ],
)
def test_by_default_severity_decides_and_an_unknown_is_never_a_pass(check, verdict):
    assert judge(check).verdict is verdict


@pytest.mark.parametrize("severity", Severity)
@pytest.mark.parametrize("action", [WARN, QUARANTINE, BLOCK])
def test_the_policy_says_what_a_severity_means(severity, action):
    actions = dict.fromkeys(Severity, WARN) | {severity: action}
    assert judge(failed(severity=severity), actions=actions).verdict is action
    others = dict.fromkeys(Severity, BLOCK) | {severity: action}
    assert judge(failed(severity=severity), actions=others).verdict is action


@pytest.mark.parametrize("action", [WARN, QUARANTINE, BLOCK])
def test_the_rule_for_a_check_wins_over_its_severity(action):
    rules = {"checks": {"area.failed": CheckRule(action=action)}}
    for severity in Severity:
        assert judge(failed(severity=severity), **rules).verdict is action
    assert judge(failed(severity=CRITICAL, id="area.other"), **rules).verdict is BLOCK


def test_the_rules_of_another_stage_do_not_matter():
    policy = Policy(
        source="test",
        evidence=Path("/nowhere"),
        quarantine=SubjectUri.parse("/nowhere/q"),
        rules={"other": StageRules(actions=dict.fromkeys(Severity, WARN))},
    )
    report = Report(checks=(failed(severity=CRITICAL),))
    assert (
        decide(report, policy, stage="stage", subject=SUBJECT, files=100, now=NOW).verdict is BLOCK
    )


# ---------------------------------------------------------------- several checks

BY_VERDICT = {
    ALLOW: PASSED,
    WARN: failed(severity=INFO, id="area.info"),
    QUARANTINE: failed(severity=WARNING, id="area.warning"),
    INCONCLUSIVE: UNKNOWN,
    BLOCK: failed(severity=CRITICAL, id="area.critical"),
}


@pytest.mark.parametrize(
    "verdicts",
    [pair for size in (2, 3) for pair in combinations_with_replacement(Verdict, size)],
    ids=lambda verdicts: "+".join(verdicts),
)
def test_the_worst_of_all_checks_is_the_verdict_in_whatever_order_they_come(verdicts):
    checks = [BY_VERDICT[verdict] for verdict in verdicts]
    worst = max(verdicts, key=list(Verdict).index)
    for order in (checks, checks[::-1]):
        judgement = judge(*order)
        assert judgement.verdict is worst
        assert len(judgement.reasons) == sum(check.outcome != "passed" for check in order)
        if worst is not QUARANTINE:
            assert (judgement.rows, judgement.files) == ((), ())


def test_a_block_beats_an_unknown_and_an_unknown_beats_a_quarantine():
    assert [verdict.value for verdict in Verdict] == [
        "allow",
        "warn",
        "quarantine",
        "inconclusive",
        "block",
    ]
    assert judge(UNKNOWN, BY_VERDICT[QUARANTINE]).verdict is INCONCLUSIVE
    assert judge(UNKNOWN, BY_VERDICT[QUARANTINE], BY_VERDICT[BLOCK]).verdict is BLOCK


def test_reasons_come_worst_first_and_name_check_target_and_finding():
    judgement = judge(
        failed(finding(1, message="one"), finding(2, message="two"), severity=INFO, id="area.info"),
        Check.unknown("area.unknown", "too little data", target="age"),
        failed(finding(message="bad"), severity=CRITICAL, id="area.critical", target="label"),
    )
    critical, unknown, info = judgement.reasons
    assert critical == "area.critical of label: bad"
    assert unknown == "area.unknown of age: could not tell: too little data"
    assert info.startswith("area.info: one (and 1 more")


# ---------------------------------------------------------------- quarantine


def test_a_quarantine_names_all_rows_and_files_sorted_and_once():
    judgement = judge(
        failed(finding(5, 1), finding(1, 3), id="area.one"),
        failed(finding(files=("z.csv", "b.csv")), finding(3), id="area.two"),
        failed(finding(50), severity=INFO, id="area.info"),
    )
    assert judgement.verdict is QUARANTINE
    assert judgement.rows == rows(1, 3, 5)
    assert judgement.files == ("b.csv", "z.csv")


def test_rows_of_a_file_that_leaves_as_a_whole_are_not_named_again():
    judgement = judge(failed(finding(*range(60), files=("a.csv",))), rows=100)
    assert judgement.verdict is QUARANTINE
    assert (judgement.rows, judgement.files) == ((), ("a.csv",))


def test_a_quarantine_that_names_nothing_blocks():
    for findings in ([finding()], [finding(1), finding()], [finding(files=("a.csv",)), finding()]):
        judgement = judge(failed(*findings))
        assert judgement.verdict is BLOCK
        assert "names no rows or files" in judgement.reasons[0]
        assert (judgement.rows, judgement.files) == ((), ())


@pytest.mark.parametrize(
    ("limit", "flagged", "total", "verdict"),
    [
        (RowLimit(share=0.25), 25, 100, QUARANTINE),
        (RowLimit(share=0.25), 26, 100, BLOCK),
        (RowLimit(rows=3), 3, 1_000_000, QUARANTINE),
        (RowLimit(rows=3), 4, 1_000_000, BLOCK),
        (RowLimit(rows=10, share=0.1), 10, 100, QUARANTINE),
        (RowLimit(rows=10, share=0.1), 10, 99, BLOCK),
        (RowLimit(rows=10, share=0.5), 11, 100, BLOCK),
        (RowLimit(rows=0), 1, 100, BLOCK),
        (RowLimit(share=0.0), 1, 100, BLOCK),
        (RowLimit(share=1.0), 100, 100, QUARANTINE),
    ],
)
def test_more_than_the_limit_blocks_and_exactly_the_limit_does_not(limit, flagged, total, verdict):
    judgement = judge(failed(finding(*range(flagged))), rows=total, quarantine_at_most=limit)
    assert judgement.verdict is verdict
    if verdict is BLOCK:
        assert f"{flagged} of {total} rows" in judgement.reasons[0]
        assert judgement.rows == ()


def test_a_quarter_is_the_limit_unless_the_policy_says_otherwise():
    assert judge(failed(finding(*range(25)))).verdict is QUARANTINE
    assert judge(failed(finding(*range(26)))).verdict is BLOCK


@pytest.mark.parametrize("total", [None, 0])
def test_a_share_of_an_unknown_number_of_rows_is_never_within_a_limit(total):
    assert judge(failed(finding(1)), rows=total).verdict is BLOCK
    limit = RowLimit(rows=5)
    assert judge(failed(finding(1)), rows=total, quarantine_at_most=limit).verdict is QUARANTINE


def test_the_limit_counts_the_rows_of_all_checks_together_and_each_row_once():
    one = failed(finding(*range(20)), id="area.one")
    same = failed(finding(*range(20)), id="area.same")
    other = failed(finding(*range(20, 40)), id="area.other")
    assert judge(one, same).verdict is QUARANTINE
    assert judge(one, other).verdict is BLOCK


# ---------------------------------------------------------------- tolerance


@pytest.mark.parametrize("action", [QUARANTINE, BLOCK])
@pytest.mark.parametrize(
    ("limit", "flagged", "tolerated"),
    [
        (RowLimit(rows=2), 2, True),
        (RowLimit(rows=2), 3, False),
        (RowLimit(share=0.02), 2, True),
        (RowLimit(share=0.02), 3, False),
        (RowLimit(rows=5, share=0.02), 3, False),
    ],
)
def test_so_few_rows_are_only_a_warning(action, limit, flagged, tolerated):
    rules = {"checks": {"area.failed": CheckRule(action=action, tolerate=limit)}}
    judgement = judge(failed(finding(*range(flagged))), **rules)
    assert judgement.verdict is (WARN if tolerated else action)
    assert ("tolerated" in judgement.reasons[0]) is tolerated
    assert bool(judgement.rows) is (judgement.verdict is QUARANTINE)


def test_rows_are_tolerated_by_their_number_and_not_by_the_number_of_findings():
    rules = {"checks": {"area.failed": CheckRule(action=BLOCK, tolerate=RowLimit(rows=2))}}
    assert judge(failed(finding(1), finding(1), finding(2)), **rules).verdict is WARN
    assert judge(failed(finding(1, 2, 3)), **rules).verdict is BLOCK


def test_whole_files_and_findings_about_no_row_at_all_are_never_tolerated():
    rules = {"checks": {"area.failed": CheckRule(action=BLOCK, tolerate=RowLimit(rows=100))}}
    assert judge(failed(finding(files=("a.csv",))), **rules).verdict is BLOCK
    assert judge(failed(finding(1, files=("a.csv",))), **rules).verdict is BLOCK
    assert judge(failed(finding()), **rules).verdict is BLOCK


def test_one_tolerable_row_does_not_excuse_a_finding_about_the_whole_data_set():
    rules = {"checks": {"area.failed": CheckRule(action=BLOCK, tolerate=RowLimit(rows=100))}}
    assert judge(failed(finding(1), finding()), **rules).verdict is BLOCK


def test_a_share_of_an_unknown_number_of_rows_is_not_tolerated():
    rules = {"checks": {"area.failed": CheckRule(action=BLOCK, tolerate=RowLimit(share=1.0))}}
    assert judge(failed(finding(1)), rows=None, **rules).verdict is BLOCK


def test_an_unknown_is_not_tolerated():
    rules = {"checks": {"area.unknown": CheckRule(action=WARN, tolerate=RowLimit(rows=100))}}
    assert judge(UNKNOWN, **rules).verdict is INCONCLUSIVE


# ---------------------------------------------------------------- waivers


@pytest.mark.parametrize(
    ("check", "name"),
    [
        (failed(severity=CRITICAL), "area.failed"),
        (failed(severity=WARNING), "area.failed"),
        (failed(finding(), severity=WARNING), "area.failed"),
        (UNKNOWN, "area.unknown"),
    ],
)
def test_a_waiver_in_force_makes_a_warning_of_it_on_the_record(check, name):
    answer = waiver(name)
    judgement = judge(check, waivers=[answer])
    assert judgement.verdict is WARN
    assert judgement.waivers == (answer,)
    assert "waived by ana until 2026-06-30" in judgement.reasons[0]
    assert judgement.rows == ()


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        (datetime(2026, 6, 29, tzinfo=UTC), WARN),
        (datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC), WARN),
        (datetime(2026, 7, 1, 0, 0, 0, tzinfo=UTC), BLOCK),
        (datetime(2030, 1, 1, tzinfo=UTC), BLOCK),
    ],
)
def test_a_waiver_holds_through_its_last_day_and_not_a_second_longer(now, verdict):
    judgement = judge(failed(severity=CRITICAL), waivers=[waiver()], now=now)
    assert judgement.verdict is verdict
    if verdict is BLOCK:
        assert judgement.waivers == ()
        assert "the waiver of ana expired on 2026-06-30" in judgement.reasons[0]


@pytest.mark.parametrize(
    "other",
    [
        waiver("area.fail"),
        waiver("area.failed2"),
        waiver("area"),
        waiver("*"),
        waiver(subject="s3://lake/digits/test.csv"),
        waiver(subject="s3://lake/digits"),
        waiver(subject="lake/digits/train.csv"),
        waiver(subject="s3://lake/digits/train?csv"),
        waiver(subject="s3://lake/digits/train[.]csv"),
        waiver(subject="s3://lake/.+"),
    ],
    ids=lambda item: f"{item.check} {item.subject}",
)
def test_a_waiver_for_something_else_changes_nothing(other):
    judgement = judge(failed(severity=CRITICAL), waivers=[other])
    assert (judgement.verdict, judgement.waivers) == (BLOCK, ())
    assert "waive" not in judgement.reasons[0]


@pytest.mark.parametrize("pattern", [SUBJECT, "s3://lake/*", "*", "*/train.csv", "s3://*/tr*n.csv"])
def test_a_star_in_a_waiver_stands_for_any_text(pattern):
    judgement = judge(failed(severity=CRITICAL), waivers=[waiver(subject=pattern)])
    assert judgement.verdict is WARN


def test_a_waiver_answers_for_its_check_only():
    judgement = judge(
        failed(severity=CRITICAL), failed(severity=CRITICAL, id="area.other"), waivers=[waiver()]
    )
    assert judgement.verdict is BLOCK
    assert len(judgement.waivers) == 1


def test_rows_of_a_waived_check_are_not_set_aside_and_do_not_count():
    judgement = judge(
        failed(finding(*range(90)), id="area.failed"),
        failed(finding(95), id="area.other"),
        waivers=[waiver()],
    )
    assert judgement.verdict is QUARANTINE
    assert judgement.rows == rows(95)


def test_of_several_waivers_the_one_that_holds_longest_counts():
    old, new = waiver(expires=date(2026, 1, 1), owner="old"), waiver(owner="new")
    for order in ([old, new], [new, old]):
        judgement = judge(failed(severity=CRITICAL), waivers=order)
        assert (judgement.verdict, judgement.waivers) == (WARN, (new,))


def test_a_waiver_that_was_not_needed_is_not_on_the_record():
    passed = judge(Check.passed("area.failed"), waivers=[waiver()])
    warned = judge(failed(severity=INFO), waivers=[waiver()])
    assert (passed.verdict, passed.waivers) == (ALLOW, ())
    assert (warned.verdict, warned.waivers) == (WARN, ())


# ---------------------------------------------------------------- the law


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.sampled_from(list(BY_VERDICT.values())), min_size=1, max_size=6),
    st.sampled_from([*BY_VERDICT.values()]),
)
def test_one_more_check_never_makes_a_verdict_better(checks, more):
    assert judge(*checks, more).verdict.rank >= judge(*checks).verdict.rank


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 50), st.integers(0, 50), st.none() | st.integers(0, 50), st.integers(0, 60))
def test_fewer_rows_are_within_every_limit_that_more_rows_are_within(count, less, most, total):
    limit = RowLimit(rows=most, share=0.3)
    if limit.holds(count, total):
        assert limit.holds(min(less, count), total)
        assert total > 0
        assert most is None or count <= most


@pytest.mark.parametrize(("flagged", "verdict"), [(25, QUARANTINE), (26, BLOCK)])
def test_whole_files_have_a_limit_as_well(flagged, verdict):
    finding = Finding(message="bad files", files=tuple(f"{n:03}.png" for n in range(flagged)))
    report = Report(
        checks=(Check.failed("area.thing", [finding], severity=Severity.WARNING),), metrics={}
    )
    policy = default_policy(Path("/nowhere"))
    judged = decide(report, policy, stage="stage", subject=SUBJECT, files=100, now=NOW)
    assert judged.verdict is verdict


def test_a_reason_names_the_file_and_counts_findings():
    findings = [Finding(message="it is too long", files=(name,)) for name in ("a.csv", "b.csv")]
    (reason,) = judge(Check.failed("files.lines", findings)).reasons
    assert reason == "files.lines: it is too long (a.csv) (and 1 more finding)"
    named = Finding(message="a.csv is too long", files=("a.csv",))
    (reason,) = judge(Check.failed("files.lines", [named])).reasons
    assert reason == "files.lines: a.csv is too long"
