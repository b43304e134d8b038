"""Reports of other tools: read by meaning, judged by severity, and never a pass by accident.

The sample reports beside this file are written by hand after the schemas of the tools. ASFF
also comes out of a Security Hub server (moto) and is checked against botocore's model of it;
OCSF is checked against the schema of the framework where that is installed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.canonical import Digest, canonical_json
from sluicegate.model import Outcome, Severity
from sluicegate.stages.base import Context
from sluicegate.stages.encryption.aws import Aws
from sluicegate.stages.encryption.foreign import AREA, QUESTIONS, judge, read
from sluicegate.stages.encryption.foreign.model import State, UnreadableError, plain, resource_name
from sluicegate.stages.encryption.foreign.read import read_report
from sluicegate.stages.encryption.scope import Scope
from sluicegate.stages.encryption.settings import Settings
from sluicegate.storage.local import LocalStore
from sluicegate.storage.manifest import FileRecord, Manifest
from sluicegate.storage.snapshot import Snapshot
from sluicegate.storage.uri import SubjectUri
from tests.aws import moto_server, point_at

SAMPLES = Path(__file__).parent / "foreign"
NOW = datetime(2030, 1, 15, tzinfo=UTC)
BUCKET = "s3://team-data/train"
CRITICAL, WARNING, INFO, COMPLETE, AGE = (question.id for question in QUESTIONS)
ARN = "arn:aws:s3:::team-data"


def scope_of(*contents, subject=BUCKET, files=("part-0.csv",), now=NOW, **fields):
    manifest = Manifest.of([FileRecord(path=f, size=1, sha256=Digest.of(b"x")) for f in files])
    snapshot = Snapshot(SubjectUri.parse(subject), manifest, LocalStore())
    read_ = {f"reports[{n}]": content for n, content in enumerate(contents)}
    return Scope(
        settings=Settings(reports=tuple(f"r{n}" for n in range(len(contents))), **fields),
        snapshot=snapshot,
        context=Context(files=read_),
        aws=Aws(),
        now=now,
    )


def examine(*contents, **options):
    scope = scope_of(*contents, **options)
    return list(AREA.examine(scope)), scope


def outcomes(checks):
    return {check.id: check.outcome for check in checks}


def one(checks, id):
    (found,) = [check for check in checks if check.id == id]
    return found


def said(checks):
    """Return what is listed: check, rule, concern and state of each finding."""
    return {
        (check.id, f.evidence["rule"], f.evidence["concerns"], f.evidence["state"])
        for check in checks
        for f in check.findings
    }


def sample(name):
    return (SAMPLES / name).read_bytes()


def changed(name, change):
    document = json.loads(sample(name))
    change(document)
    return json.dumps(document).encode()


# --- what the sample reports come to


def test_prowler_5():
    checks, scope = examine(sample("prowler5.ocsf.json"))
    assert said(checks) == {
        (CRITICAL, "s3_bucket_public_access", "subject", "failed"),
        (WARNING, "s3_bucket_secure_transport_policy", "subject", "failed"),
        (INFO, "s3_bucket_object_lock", "subject", "suppressed"),
        (INFO, "s3_bucket_public_access", "other", "failed"),
    }
    assert {check.target for check in checks} == {"Prowler@5.14.0: reports[0]"}
    assert one(checks, COMPLETE).outcome is Outcome.UNKNOWN
    assert "account_maintain_current_contact_details" in one(checks, COMPLETE).reason
    assert one(checks, AGE).outcome is Outcome.PASSED
    assert scope.metrics["foreign_passed"] == 1
    assert scope.metrics["foreign_failed"] == 3
    assert scope.tables["foreign_reports"][0]["written"] == "2030-01-14T02:00:00+00:00"
    (finding,) = one(checks, CRITICAL).findings
    assert finding.message == (
        f"expected nothing, found s3_bucket_public_access reported on {ARN}: "
        "Ensure there are no S3 buckets open to Everyone."
    )


def test_prowler_3():
    checks, _ = examine(sample("prowler3.json"))
    assert said(checks) == {
        (CRITICAL, "s3_bucket_secure_transport_policy", "subject", "failed"),
        (INFO, "s3_bucket_server_access_logging_enabled", "subject", "failed"),
        (INFO, "s3_bucket_no_mfa_delete", "subject", "suppressed"),
    }
    assert one(checks, WARNING).outcome is Outcome.PASSED
    assert one(checks, COMPLETE).outcome is Outcome.PASSED
    assert {check.target for check in checks} == {"Prowler@3: reports[0]"}


def test_asff():
    checks, _ = examine(sample("asff.json"))
    assert said(checks) == {
        (CRITICAL, "S3.2", "subject", "failed"),
        (WARNING, "S3.5", "subject", "failed"),
        (INFO, "S3.9", "subject", "suppressed"),
        (INFO, "S3.13", "subject", "resolved"),
        (INFO, "S3.2", "other", "failed"),
    }
    (who,) = [f.evidence["by"] for f in one(checks, INFO).findings if f.evidence["rule"] == "S3.9"]
    assert who == "suppressed in Security Hub by a.person"
    assert "Config.1" in one(checks, COMPLETE).reason


def test_sarif():
    checks, scope = examine(sample("scan.sarif"), files=("infra/buckets.tf",))
    assert said(checks) == {
        (CRITICAL, "BUCKET-TLS", "subject", "failed"),
        (INFO, "BUCKET-LOG", "subject", "failed"),
        (INFO, "BUCKET-KEY", "unplaced", "suppressed"),
    }
    assert one(checks, CRITICAL).findings[0].files == ("infra/buckets.tf",)
    assert one(checks, WARNING).outcome is Outcome.PASSED
    assert scope.metrics["foreign_not_applicable"] == 1
    assert scope.metrics["foreign_passed"] == 1


def test_trivy():
    checks, scope = examine(sample("trivy.json"))
    assert said(checks) == {
        (CRITICAL, "CVE-2030-0001", "unplaced", "failed"),
        (CRITICAL, "DS002", "unplaced", "failed"),
        (CRITICAL, "aws-access-key-id", "unplaced", "failed"),
        (WARNING, "CVE-2030-0003", "unplaced", "failed"),
        (WARNING, "MPL-2.0", "unplaced", "failed"),
        (INFO, "CVE-2030-0002", "unplaced", "failed"),
        (INFO, "CVE-2030-0004", "unplaced", "suppressed"),
    }
    assert scope.metrics["foreign_passed"] == 26 + 1
    assert b"AKIASECRETSECRET" not in canonical_json([check.to_json() for check in checks])


def test_grype():
    checks, _ = examine(sample("grype.json"))
    assert said(checks) == {
        (CRITICAL, "CVE-2030-0001", "unplaced", "failed"),
        (WARNING, "CVE-2030-0005", "unplaced", "failed"),
        (INFO, "CVE-2030-0006", "unplaced", "failed"),
        (INFO, "CVE-2030-0007", "unplaced", "suppressed"),
    }
    assert one(checks, COMPLETE).outcome is Outcome.PASSED
    assert one(checks, INFO).findings[-1].evidence["by"] == (
        "ignored by a rule of the tool: no git at run time"
    )


def test_several_reports_have_targets_of_their_own():
    names = ("asff.json", "trivy.json", "trivy.json")
    checks, _ = examine(*(sample(name) for name in names))
    keys = [(check.id, check.target) for check in checks]
    assert len(keys) == len(set(keys)) == 15


def test_runs_in_one_file_are_told_apart():
    double = changed("scan.sarif", lambda log: log["runs"].append(log["runs"][0]))
    checks, _ = examine(double)
    assert {check.target for check in checks} == {
        "iac-scan@2.4.1: reports[0] part 1",
        "iac-scan@2.4.1: reports[0] part 2",
    }


def test_only_wanted_questions_are_answered():
    checks, _ = examine(sample("grype.json"), skip=("*foreign_info", AGE))
    assert set(outcomes(checks)) == {CRITICAL, WARNING, COMPLETE}
    assert examine(b"not even read", checks=("encryption.object_mode",))[0] == []


def test_the_area_asks_nothing_without_reports():
    subject = SubjectUri.parse(BUCKET)
    assert AREA.resources(Settings(), subject) == {}
    assert AREA.resources(Settings(reports=("a", "b")), subject) == {
        "reports": ("reports[0]", "reports[1]")
    }
    assert all(question.remedy and not question.permissions for question in QUESTIONS)


def test_the_same_report_gives_the_same_checks_whatever_its_order():
    backwards = changed("asff.json", lambda d: d["Findings"].reverse())
    first, again = examine(sample("asff.json"))[0], examine(backwards)[0]
    failed = [check for check in first if check.findings]
    assert failed == [check for check in again if check.findings]


# --- what cannot be read

UNREADABLE = {
    "nothing": b"",
    "no JSON": b"<html>",
    "cut": sample("prowler5.ocsf.json")[:-200],
    "twice": b'{"version": "2.1.0", "version": "2.1.0", "runs": []}',
    "not a number": b'{"version": "2.1.0", "runs": NaN}',
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "UTF-16": "[]".encode("utf-16"),
    "digits": b'{"version": "2.1.0", "runs": ' + b"9" * 5000 + b"}",
    "text": b'"report"',
    "an empty list": b"[]",
    "no run": b'{"version": "2.1.0", "runs": []}',
    "SARIF of another version": changed("scan.sarif", lambda d: d.update(version="2.0.0")),
    "SARIF without a tool": changed("scan.sarif", lambda d: d["runs"][0].pop("tool")),
    "SARIF with a rule that is not there": changed(
        "scan.sarif", lambda d: d["runs"][0]["results"][0].update(ruleIndex=9)
    ),
    "SARIF with a rule of a part that is not there": changed(
        "scan.sarif",
        lambda d: d["runs"][0]["results"][0].update(rule={"toolComponent": {"name": "x"}}),
    ),
    "SARIF with results of another type": changed(
        "scan.sarif", lambda d: d["runs"][0].update(results={})
    ),
    "Trivy of another version": changed("trivy.json", lambda d: d.update(SchemaVersion=3)),
    "Trivy with an odd finding": changed(
        "trivy.json", lambda d: d["Results"][0]["Vulnerabilities"].append("CVE-2030-0009")
    ),
    "Trivy of another kind": b'{"ClusterName": "c", "Findings": []}',
    "Trivy with a modified finding of another kind": changed(
        "trivy.json",
        lambda d: d["Results"][0]["ExperimentalModifiedFindings"][0].update(Type="odd"),
    ),
    "Grype of another tool": changed("grype.json", lambda d: d["descriptor"].update(name="x")),
    "Grype without a name": changed("grype.json", lambda d: d["matches"][0].pop("artifact")),
    "ASFF of another version": changed(
        "asff.json", lambda d: d["Findings"][0].update(SchemaVersion="2030-01-01")
    ),
    "ASFF without resources": changed("asff.json", lambda d: d["Findings"][0].pop("Resources")),
    "ASFF with an odd time": changed(
        "asff.json", lambda d: d["Findings"][0].update(UpdatedAt="soon")
    ),
    "ASFF that is no list": b'{"Findings": {}}',
    "OCSF of another class": changed("prowler5.ocsf.json", lambda d: d[0].update(class_uid=1001)),
    "OCSF with a number that is none": changed(
        "prowler5.ocsf.json", lambda d: d[0].update(severity_id=True)
    ),
    "OCSF with another element": changed("prowler5.ocsf.json", lambda d: d.append("x")),
    "OCSF without a name": changed(
        "prowler5.ocsf.json",
        lambda d: (d[0]["metadata"].pop("event_code"), d[0]["finding_info"].pop("uid")),
    ),
    "Prowler 3 without status": changed("prowler3.json", lambda d: d[0].pop("Status")),
    "of no tool": b'{"findings": [], "tool": "mine"}',
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_unknown_in_every_check(content):
    checks, _ = examine(content)
    assert set(outcomes(checks)) == {question.id for question in QUESTIONS}
    assert {check.outcome for check in checks} == {Outcome.UNKNOWN}
    assert all(check.reason.startswith("the report cannot be read: ") for check in checks)
    assert {check.target for check in checks} == {"reports[0]"}


def test_a_report_that_is_too_large_is_not_parsed(monkeypatch):
    monkeypatch.setattr(read, "MAX_BYTES", 10)
    with pytest.raises(UnreadableError, match="expected at most 10 bytes, found 11"):
        read_report(b"[" + b" " * 9 + b"]")
    with pytest.raises(UnreadableError, match="empty list"):
        read_report(b"[" + b" " * 8 + b"]")


def test_an_unreadable_report_hides_no_finding_of_another():
    checks, _ = examine(b"broken", sample("grype.json"))
    assert [c.outcome for c in checks if c.id == CRITICAL] == [Outcome.UNKNOWN, Outcome.FAILED]


def test_no_message_repeats_a_value():
    secret = "hunter2-hunter2"
    for name in ("asff.json", "grype.json", "prowler5.ocsf.json", "scan.sarif", "trivy.json"):
        text = json.dumps(json.loads(sample(name)))
        for word in ("MEDIUM", "High", "Medium", "2030-01-14T02:00:00", "2.1.0", "2018-10-08"):
            content = text.replace(word, secret).encode()
            for check in examine(content)[0]:
                assert secret not in check.reason


MEMBERS = [
    *("version", "runs", "tool", "driver", "name", "results", "locations", "Severity"),
    *("Findings", "ProductArn", "AwsAccountId", "Resources", "SchemaVersion", "ArtifactName"),
    *("Results", "matches", "descriptor", "class_uid", "metadata", "CheckID", "StatusExtended"),
]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(MEMBERS),
                inner,
                max_size=6,
            )
        ),
        max_leaves=25,
    ),
    st.sampled_from(sorted(path.name for path in SAMPLES.iterdir())),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None)
def test_no_json_makes_it_fall_over(value, name, random):
    document = json.loads(sample(name))
    place, steps = document, random.randint(0, 6)
    for _ in range(steps):
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            break
        key = random.choice(keys)
        if not isinstance(place[key], (dict, list)) or random.random() < 0.2:
            place[key] = value
            break
        place = place[key]
    for content in (document, value):
        checks, _ = examine(json.dumps(content).encode())
        assert len(checks) >= 5
        canonical_json([check.to_json() for check in checks])


# --- empty, cut and undecided reports

EMPTY = {
    "grype": changed("grype.json", lambda d: d.update(matches=[], ignoredMatches=[])),
    "trivy": changed("trivy.json", lambda d: d.update(Results=[])),
    "trivy without results": changed("trivy.json", lambda d: d.pop("Results")),
    "sarif": changed("scan.sarif", lambda d: d["runs"][0].update(results=[], invocations=[])),
    "asff": b'{"Findings": []}',
}


@pytest.mark.parametrize("content", EMPTY.values(), ids=EMPTY)
def test_an_empty_report_is_no_pass(content):
    checks, _ = examine(content)
    by_id = outcomes(checks)
    for name in (CRITICAL, WARNING, INFO, COMPLETE):
        assert by_id[name] is Outcome.UNKNOWN, name
    assert "nothing that the tool examined" in one(checks, COMPLETE).reason


def test_a_trivy_report_that_counts_more_than_it_lists_is_incomplete():
    checks, _ = examine(
        changed("trivy.json", lambda d: d["Results"][2].update(Misconfigurations=[]))
    )
    complete = one(checks, COMPLETE)
    assert complete.outcome is Outcome.UNKNOWN
    assert "counts 1 misconfigurations and lists 0" in complete.reason


def test_a_sarif_run_that_looked_and_found_nothing_is_complete():
    checks, _ = examine(changed("scan.sarif", lambda d: d["runs"][0].update(results=[])))
    by_id = outcomes(checks)
    for name in (CRITICAL, WARNING, INFO, COMPLETE):
        assert by_id[name] is Outcome.PASSED, name


def test_a_clean_report_passes():
    def clean(log):
        log["runs"][0]["results"] = log["runs"][0]["results"][3:]

    checks, _ = examine(changed("scan.sarif", clean))
    assert set(outcomes(checks).values()) == {Outcome.PASSED}
    clean_image = {"Target": "image", "Class": "os-pkgs", "Type": "debian"}
    checks, _ = examine(changed("trivy.json", lambda d: d.update(Results=[clean_image])))
    assert set(outcomes(checks).values()) == {Outcome.PASSED}


def run_with(**members):
    def change(log):
        log["runs"][0]["results"] = log["runs"][0]["results"][3:]
        log["runs"][0].update(members)

    return changed("scan.sarif", change)


GAPS = {
    "the run failed": run_with(invocations=[{"executionSuccessful": False}]),
    "errors of the tool": run_with(
        invocations=[
            {"executionSuccessful": True, "toolExecutionNotifications": [{"level": "error"}]}
        ]
    ),
    "errors of its configuration": run_with(
        invocations=[
            {"executionSuccessful": True, "toolConfigurationNotifications": [{"level": "error"}]}
        ]
    ),
    "results elsewhere": run_with(externalPropertyFileReferences={"results": [{"itemCount": 3}]}),
    "no results at all": run_with(results=None),
    "one page of many": changed(
        "asff.json", lambda d: d.update(NextToken="x", Findings=d["Findings"][1:2])
    ),
}


@pytest.mark.parametrize("content", GAPS.values(), ids=GAPS)
def test_a_report_with_gaps_is_no_pass(content):
    checks, _ = examine(content)
    for name in (CRITICAL, WARNING, INFO, COMPLETE):
        assert outcomes(checks)[name] is Outcome.UNKNOWN, name


def test_a_run_that_did_not_look_is_told_from_one_that_found_nothing():
    reason = one(examine(GAPS["no results at all"])[0], COMPLETE).reason
    assert reason.startswith("the run has no results: the tool did not look for any")
    assert "did not look" not in one(examine(EMPTY["sarif"])[0], COMPLETE).reason


def test_warnings_of_the_tool_are_no_gaps():
    fine = [{"executionSuccessful": True, "toolExecutionNotifications": [{"level": "warning"}]}]
    assert outcomes(examine(run_with(invocations=fine))[0])[COMPLETE] is Outcome.PASSED


def test_an_undecided_result_leaves_its_severity_open():
    def change(log):
        log["runs"][0]["results"] = [
            {"ruleId": "A", "kind": "pass", "message": {"text": "fine"}},
            {"ruleId": "B", "kind": "review", "message": {"text": "look"}},
        ]

    by_id = outcomes(examine(changed("scan.sarif", change))[0])
    assert by_id[INFO] is Outcome.UNKNOWN
    assert by_id[COMPLETE] is Outcome.UNKNOWN
    assert by_id[CRITICAL] is Outcome.PASSED


# --- age


@pytest.mark.parametrize(
    ("ago", "outcome"),
    [
        (timedelta(0), Outcome.PASSED),
        (timedelta(days=7), Outcome.PASSED),
        (timedelta(days=7, seconds=1), Outcome.UNKNOWN),
        (-timedelta(hours=23), Outcome.PASSED),
        (-timedelta(days=1, seconds=1), Outcome.UNKNOWN),
    ],
)
@pytest.mark.parametrize("name", sorted(path.name for path in SAMPLES.iterdir()))
def test_age(name, ago, outcome):
    _, scope = examine(sample(name))
    written = datetime.fromisoformat(scope.tables["foreign_reports"][0]["written"])
    assert written.date().isoformat() == "2030-01-14"
    exact = {"grype.json": 500_000, "trivy.json": 123_456, "prowler3.json": 354_413}.get(name, 0)
    now = written.replace(microsecond=exact) + ago
    age = one(examine(sample(name), now=now)[0], AGE)
    assert age.outcome is outcome
    assert str(ago) not in age.reason


def test_a_report_without_a_time_has_an_unknown_age():
    checks, _ = examine(changed("grype.json", lambda d: d["descriptor"].update(timestamp="")))
    assert one(checks, AGE).outcome is Outcome.UNKNOWN
    checks, _ = examine(changed("scan.sarif", lambda d: d["runs"][0].pop("invocations")))
    assert one(checks, AGE).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("time", [1894586400, 1894586400000])
def test_ocsf_times_in_seconds_and_milliseconds(time):
    def change(events):
        for event in events:
            event.pop("time_dt")
            event["time"] = time

    (report,) = read_report(changed("prowler5.ocsf.json", change))
    assert report.written == datetime(2030, 1, 14, 2, tzinfo=UTC)


# --- meaning of single members


def state_of(report):
    (tool,) = read_report(report)
    return tool.results[0]


def ocsf(**members):
    return changed(
        "prowler5.ocsf.json", lambda d: (d.__delitem__(slice(1, None)), d[0].update(members))
    )


@pytest.mark.parametrize(
    ("members", "state"),
    [
        ({"status_code": "PASS"}, State.PASSED),
        ({"status_code": "PASS", "status_id": 3}, State.PASSED),
        ({"status_code": "FAIL"}, State.FAILED),
        ({"status_code": "FAIL", "status_id": 2}, State.FAILED),
        ({"status_code": "FAIL", "status_id": 3}, State.SUPPRESSED),
        ({"status_code": "FAIL", "status_id": 4}, State.RESOLVED),
        ({"status_code": "FAIL", "activity_id": 3}, State.RESOLVED),
        ({"status_code": "MANUAL"}, State.UNDECIDED),
        ({"status_code": "SOMETHING"}, State.FAILED),
        ({"status_code": None}, State.FAILED),
        ({"status_code": None, "compliance": {"status_id": 1}}, State.PASSED),
        ({"status_code": None, "compliance": {"status_id": 2}}, State.UNDECIDED),
        ({"status_code": None, "compliance": {"status_id": 3}}, State.FAILED),
        ({"status_code": None, "compliance": {"status_id": 99}}, State.FAILED),
        ({"status_code": "PASS", "compliance": {"status_id": 3}}, State.FAILED),
        ({"status_code": "PASS", "compliance": {"status_id": 2}}, State.UNDECIDED),
    ],
)
def test_states_of_ocsf(members, state):
    assert state_of(ocsf(**members)).state is state


@pytest.mark.parametrize(
    ("members", "severity"),
    [
        *(
            ({"severity_id": number}, severity)
            for number, severity in enumerate(
                [WARNING, INFO, INFO, WARNING, CRITICAL, CRITICAL, CRITICAL]
            )
        ),
        ({"severity_id": 99, "severity": "Low"}, INFO),
        ({"severity_id": 99, "severity": "Odd"}, CRITICAL),
        ({"severity_id": None, "severity": None}, CRITICAL),
    ],
)
def test_severities_of_ocsf(members, severity):
    found = state_of(ocsf(**members)).severity
    assert f"encryption.foreign_{found.value}" == severity


def asff(**members):
    def change(document):
        document["Findings"] = [{**document["Findings"][0], **members}]

    return changed("asff.json", change)


PROWLER = {"ProviderName": "Prowler", "ProviderVersion": "5.14.0"}


@pytest.mark.parametrize(
    ("members", "state"),
    [
        ({"Compliance": {"Status": "PASSED"}}, State.PASSED),
        ({"Compliance": {"Status": "PASSED"}, "Workflow": {"Status": "SUPPRESSED"}}, State.PASSED),
        ({"Compliance": {"Status": "FAILED"}}, State.FAILED),
        ({"Compliance": {"Status": "WARNING"}}, State.UNDECIDED),
        ({"Compliance": {"Status": "WARNING"}, "ProductFields": PROWLER}, State.SUPPRESSED),
        ({"Compliance": {"Status": "FAILED"}, "ProductFields": PROWLER}, State.FAILED),
        ({"Compliance": {"Status": "NOT_AVAILABLE"}}, State.UNDECIDED),
        ({"Compliance": {"Status": "ODD"}}, State.FAILED),
        ({"Compliance": None}, State.FAILED),
        ({"Workflow": {"Status": "NOTIFIED"}}, State.FAILED),
        ({"Workflow": {"Status": "RESOLVED"}}, State.RESOLVED),
        ({"Workflow": {"Status": "SUPPRESSED"}}, State.SUPPRESSED),
        ({"RecordState": "ARCHIVED"}, State.RESOLVED),
    ],
)
def test_states_of_asff(members, state):
    assert state_of(asff(**members)).state is state


@pytest.mark.parametrize(
    ("severity", "expected"),
    [
        ({"Label": "CRITICAL"}, Severity.CRITICAL),
        ({"Label": "HIGH"}, Severity.CRITICAL),
        ({"Label": "MEDIUM"}, Severity.WARNING),
        ({"Label": "LOW"}, Severity.INFO),
        ({"Label": "INFORMATIONAL"}, Severity.INFO),
        ({"Label": "ODD"}, Severity.CRITICAL),
        ({"Normalized": 70}, Severity.CRITICAL),
        ({"Normalized": 69}, Severity.WARNING),
        ({"Normalized": 40}, Severity.WARNING),
        ({"Normalized": 39}, Severity.INFO),
        ({}, Severity.CRITICAL),
    ],
)
def test_severities_of_asff(severity, expected):
    assert state_of(asff(Severity=severity)).severity is expected


def test_asff_forms_and_products():
    document = json.loads(sample("asff.json"))
    findings = document["Findings"]
    assert read_report(json.dumps(findings).encode()) == read_report(sample("asff.json"))
    (single,) = read_report(json.dumps(findings[0]).encode())
    assert (single.tool, len(single.results)) == ("Security Hub", 1)
    findings[0]["ProductFields"] = PROWLER
    tools = read_report(json.dumps(findings).encode())
    assert [(tool.label, len(tool.results)) for tool in tools] == [
        ("Prowler@5.14.0", 1),
        ("Security Hub", 6),
    ]


def sarif(**members):
    def change(log):
        result = {**log["runs"][0]["results"][0], **members}
        log["runs"][0]["results"] = [{k: v for k, v in result.items() if v is not None}]

    return changed("scan.sarif", change)


@pytest.mark.parametrize(
    ("members", "state"),
    [
        ({}, State.FAILED),
        ({"kind": "fail"}, State.FAILED),
        ({"kind": "pass"}, State.PASSED),
        ({"kind": "notApplicable"}, State.NOT_APPLICABLE),
        ({"kind": "informational"}, State.NOT_APPLICABLE),
        ({"kind": "open"}, State.UNDECIDED),
        ({"kind": "review"}, State.UNDECIDED),
        ({"kind": "odd"}, State.FAILED),
        ({"baselineState": "new"}, State.FAILED),
        ({"baselineState": "updated"}, State.FAILED),
        ({"baselineState": "absent"}, State.NOT_APPLICABLE),
        ({"suppressions": []}, State.FAILED),
        ({"suppressions": [{"kind": "inSource"}]}, State.SUPPRESSED),
        ({"suppressions": [{"kind": "external", "status": "accepted"}]}, State.SUPPRESSED),
        ({"suppressions": [{"kind": "external", "status": "underReview"}]}, State.FAILED),
        ({"suppressions": [{"kind": "external", "status": "rejected"}]}, State.FAILED),
        (
            {"suppressions": [{"kind": "inSource"}, {"kind": "external", "status": "rejected"}]},
            State.FAILED,
        ),
        ({"kind": "review", "suppressions": [{"kind": "inSource"}]}, State.SUPPRESSED),
    ],
)
def test_states_of_sarif(members, state):
    assert state_of(sarif(**members)).state is state


@pytest.mark.parametrize(
    ("members", "severity"),
    [
        ({}, Severity.CRITICAL),
        ({"ruleIndex": 1, "ruleId": "BUCKET-LOG"}, Severity.INFO),
        ({"ruleIndex": 2, "ruleId": "BUCKET-KEY"}, Severity.WARNING),
        ({"ruleIndex": None, "ruleId": "BUCKET-LOG"}, Severity.INFO),
        ({"ruleIndex": None, "ruleId": "BUCKET-LOG/prefix"}, Severity.INFO),
        ({"ruleIndex": None, "ruleId": None, "rule": {"id": "BUCKET-LOG"}}, Severity.INFO),
        ({"ruleIndex": None, "rule": {"index": 1}}, Severity.INFO),
        ({"ruleIndex": None, "ruleId": "ELSEWHERE"}, Severity.WARNING),
        ({"ruleIndex": 1, "level": "error"}, Severity.CRITICAL),
        ({"ruleIndex": 1, "level": "odd"}, Severity.CRITICAL),
        ({"ruleIndex": 0, "level": "note"}, Severity.CRITICAL),  # scored 8.1 by its rule
        ({"ruleIndex": 1, "properties": {"security-severity": "6.9"}}, Severity.WARNING),
        ({"ruleIndex": 1, "properties": {"security-severity": "7.0"}}, Severity.CRITICAL),
        ({"ruleIndex": 1, "properties": {"security-severity": 4}}, Severity.WARNING),
        ({"ruleIndex": 1, "properties": {"security-severity": "3.9"}}, Severity.INFO),
        ({"ruleIndex": 1, "properties": {"security-severity": "nan"}}, Severity.CRITICAL),
    ],
)
def test_severities_of_sarif(members, severity):
    assert state_of(sarif(**members)).severity is severity


def test_rules_of_extensions_are_found_by_index_guid_and_name():
    guid = "00000000-0000-4000-8000-000000000000"
    rule = {"id": "EXTRA", "defaultConfiguration": {"level": "error"}}
    for reference in ({"index": 0}, {"guid": guid}, {"name": "more"}):

        def change(log, reference=reference):
            run = log["runs"][0]
            run["tool"]["extensions"] = [{"name": "more", "guid": guid, "rules": [rule]}]
            run["results"] = [
                {"rule": {"index": 0, "toolComponent": reference}, "message": {"text": "x"}}
            ]

        found = state_of(changed("scan.sarif", change))
        assert (found.rule, found.severity) == ("EXTRA", Severity.CRITICAL)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("ignored", State.SUPPRESSED),
        ("not_affected", State.SUPPRESSED),
        ("fixed", State.RESOLVED),
        ("under_investigation", State.FAILED),
        ("affected", State.FAILED),
        ("odd", State.FAILED),
    ],
)
def test_what_trivy_modified(status, state):
    def change(report):
        result = report["Results"][0]
        result["ExperimentalModifiedFindings"][0]["Status"] = status
        result["Vulnerabilities"] = []
        report["Results"] = [result]

    assert state_of(changed("trivy.json", change)).state is state


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("PASS", State.PASSED),
        ("FAIL", State.FAILED),
        ("EXCEPTION", State.SUPPRESSED),
        ("ODD", State.FAILED),
    ],
)
def test_states_of_trivy(status, state):
    def change(report):
        report["Results"] = report["Results"][2:3]
        report["Results"][0]["Misconfigurations"][0]["Status"] = status

    assert state_of(changed("trivy.json", change)).state is state


@pytest.mark.parametrize(
    ("status", "state"),
    [("MUTED", State.SUPPRESSED), ("INFO", State.UNDECIDED), ("ODD", State.FAILED)],
)
def test_states_of_prowler_3(status, state):
    assert state_of(changed("prowler3.json", lambda d: d[0].update(Status=status))).state is state


# --- whom a finding concerns


def concern(resource, **options):
    checks, _ = examine(asff(Resources=[{"Id": resource, "Type": "Other"}]), **options)
    ((_, _, concerns, _),) = said(checks)
    severity = next(check.severity for check in checks if check.findings)
    return concerns, severity


KEY = "arn:aws:kms:eu-west-1:123456789012:key/0000"
TABLE = "arn:aws:dynamodb:eu-west-1:123456789012:table/features"


@pytest.mark.parametrize(
    ("resource", "fields", "concerns"),
    [
        (ARN, {}, "subject"),
        (f"{ARN}/train/part-0.csv", {}, "subject"),
        ("arn:aws-cn:s3:::team-data", {}, "subject"),
        ("team-data", {}, "subject"),
        ("s3://team-data/elsewhere", {}, "subject"),
        ("arn:aws:s3:::team-data-logs", {}, "other"),
        ("arn:aws:s3:::team", {}, "other"),
        ("arn:aws:s3:::*", {}, "unplaced"),
        ("arn:aws:s3:::", {}, "unplaced"),
        ("arn:aws:s3:eu-west-1:123456789012:accesspoint/door", {}, "unplaced"),
        ("arn:aws:ec2:eu-west-1:123456789012:instance/i-1", {}, "other"),
        ("arn:aws:sqs:eu-west-1:123456789012:queue", {}, "other"),
        ("arn:aws:iam::123456789012:root", {}, "unplaced"),
        ("arn:aws:iam::123456789012:role/admin", {}, "other"),
        ("AWS::::Account:123456789012", {}, "unplaced"),
        ("my-server", {}, "unplaced"),
        (KEY, {}, "unplaced"),
        (KEY, {"kms_keys": (KEY,)}, "subject"),
        (f"{KEY}1", {"kms_keys": (KEY,)}, "other"),
        (KEY.replace("key/0000", "alias/data"), {"kms_keys": (KEY,)}, "unplaced"),
        (TABLE, {}, "other"),
        (TABLE, {"resources": (TABLE,)}, "subject"),
        (f"{TABLE}/stream/1", {"resources": (TABLE,)}, "subject"),
        (f"{TABLE}2", {"resources": (TABLE,)}, "other"),
        (TABLE.replace("123456789012", "210987654321"), {"resources": (TABLE,)}, "other"),
        (TABLE.replace("eu-west-1", "us-east-1"), {"resources": (TABLE,)}, "other"),
        (TABLE, {"subject": "/data/train.csv"}, "unplaced"),
        (TABLE, {"subject": "/data/train.csv", "resources": (f"{ARN}/x",)}, "other"),
        (ARN, {"subject": "/data/train.csv", "resources": (f"{ARN}/x",)}, "subject"),
        (
            "//storage.googleapis.com/projects/_/buckets/models",
            {"resources": ("gs://models/a",)},
            "subject",
        ),
        (
            "/subscriptions/1/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/Acct",
            {"resources": ("azure://acct/models",)},
            "subject",
        ),
        ("db.example", {"endpoints": ("postgresql://db.example:5432/x",)}, "subject"),
    ],
)
def test_whom_a_finding_concerns(resource, fields, concerns):
    severity = Severity.INFO if concerns == "other" else Severity.WARNING
    assert concern(resource, **fields) == (concerns, severity)


def test_one_resource_of_ours_among_others_is_enough():
    resources = [{"Id": "arn:aws:s3:::website", "Type": "x"}, {"Id": ARN, "Type": "x"}]
    checks, _ = examine(asff(Resources=resources))
    assert one(checks, WARNING).outcome is Outcome.FAILED
    resources[1]["Id"] = "something"
    checks, _ = examine(asff(Resources=resources))
    assert one(checks, WARNING).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    "uri",
    ["a%20b/c%23.csv", "./a%20b/c%23.csv", "a b/c#.csv", "s3://team-data/train/a%20b/c%23.csv"],
)
def test_files_of_the_subject_are_recognised(uri):
    place = {"physicalLocation": {"artifactLocation": {"uri": uri}}}
    checks, _ = examine(sarif(locations=[place]), files=("a b/c#.csv",))
    assert one(checks, CRITICAL).findings[0].files == ("a b/c#.csv",)


@pytest.mark.parametrize("uri", ["b.csv", "../a.csv", "s3://other/train/a.csv", "x/a.csv"])
def test_other_files_are_not(uri):
    place = {"physicalLocation": {"artifactLocation": {"uri": uri}}}
    checks, _ = examine(sarif(locations=[place]), files=("a.csv",))
    assert one(checks, CRITICAL).findings[0].files == ()


# --- text from outside, and bounds


def test_text_from_outside_is_made_harmless():
    assert plain("a\x1b[31m\u202eb\n\tc\ud800\u2028d") == "a [31m b c d"
    assert plain("x" * 300) == "x" * 199 + "…"
    assert plain("é" * 10**6, 10) == "é" * 9 + "…"
    assert plain("x" * 200) == "x" * 200
    hostile = "title \u202e\x00 <script> [a](javascript:b)\ud800" + "x" * 1000
    checks, _ = examine(asff(Title=hostile, GeneratorId=hostile, Compliance=None))
    finding = one(checks, WARNING).findings[0]
    assert "\u202e" not in finding.message
    assert "\x00" not in finding.message
    assert len(finding.message) < 1500
    canonical_json(finding.to_json())


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("https://user:pass@host/a?token=1#x", "https://host/a"),
        ("pkg@1 in https://user:pass@host/a?token=1", "pkg@1 in https://host/a"),
        ("https://user:p@ss@host", "https://host"),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
        ("openssl@3.0", "openssl@3.0"),
    ],
)
def test_names_hold_no_credentials(name, shown):
    assert resource_name(name) == shown


def test_long_lists_are_cut_and_say_so(monkeypatch):
    monkeypatch.setattr(judge, "MAX_LISTED", 4)
    checks, scope = examine(sample("trivy.json"), sample("grype.json"))
    listed = [f for check in checks for f in check.findings]
    assert sum("rule" in f.evidence for f in listed) == 4
    assert sum(f.evidence.get("not_listed", 0) for f in listed) == 7
    assert scope.metrics["foreign_not_listed"] == 7
    assert [c.outcome for c in checks if c.id == CRITICAL] == [Outcome.FAILED] * 2


@pytest.mark.slow
def test_a_long_report_is_read_in_bounded_time():
    finding = json.loads(sample("asff.json"))["Findings"][0]
    finding["Title"] = "a" * 2000 + "://"
    many = json.dumps({"Findings": [finding] * 12_000}).encode()
    checks, scope = examine(many)
    assert len(one(checks, WARNING).findings) == judge.MAX_LISTED + 1
    assert scope.metrics["foreign_failed"] == 12_000


# --- against the owners of the formats


def test_importing_the_area_imports_nothing_heavy():
    code = (
        "import sys, sluicegate.stages.encryption.foreign\n"
        "heavy = {'boto3', 'botocore', 'pyarrow', 'numpy', 'pandas', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.fixture
def security_hub(monkeypatch, tmp_path):
    with moto_server() as address:
        point_at(address, monkeypatch, tmp_path)
        yield boto3.client("securityhub", "eu-west-1")


def test_what_security_hub_hands_out_is_read(security_hub):
    """The call validates the sample against botocore's model; the server stores it."""
    findings = json.loads(sample("asff.json"))["Findings"]
    answer = security_hub.batch_import_findings(Findings=findings)
    assert answer["SuccessCount"] == len(findings)
    saved = security_hub.get_findings(MaxResults=100)
    saved.pop("ResponseMetadata")
    checks, _ = examine(json.dumps(saved, default=str).encode())
    assert said(checks) == said(examine(sample("asff.json"))[0])


def test_the_ocsf_sample_fits_the_models_that_prowler_writes_with():
    found = pytest.importorskip("py_ocsf_models.events.findings.detection_finding")
    for event in json.loads(sample("prowler5.ocsf.json")):
        found.DetectionFinding.model_validate(event)
