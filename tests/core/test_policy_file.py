"""Policy files: strict reading, errors that say where, and a digest of what decides."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.errors import ClearanceRefused, ConfigurationError, PolicyError
from sluicegate.model import Severity, Verdict
from sluicegate.policy.load import default_policy, find_policy, load_policy
from sluicegate.policy.model import Purpose, RowLimit
from sluicegate.receipts.keys import PublicKey
from sluicegate.stages.registry import stage_names

WHOLE = """\
# Everything that a policy can say.
version: 1
evidence: evidence
quarantine: s3://lake/quarantine
samples: true

purposes:
  train:
    max_age: 7d
    stages:
      - scan-for-poisoning: {label: digit, features: [a, b], seed: 3}
      - validate-dataset: {suite: suite.json}
  explore:
    stages: [validate-dataset: {suite: suite.json}]

rules:
  scan-for-poisoning:
    critical: block
    warning: quarantine
    info: warn
    checks:
      poisoning.label_issues: {failed: block, tolerate: {rows: 5, share: 1%}}
    quarantine_at_most: {share: 20%, rows: 1000}

waivers:
  - check: validation.range
    subject: s3://lake/*
    owner: ana@example.org
    reason: The sensor is known to drift.
    expires: 2026-12-31

keys:
  - name: gates
    file: keys/gates.pub.pem
    stages: [scan-for-poisoning, quarantine]
    not_before: 2026-01-01
    not_after: 2026-12-31
"""


def public_pem():
    return (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


PEM, OTHER_PEM = public_pem(), public_pem()


@pytest.fixture
def home(tmp_path):
    """Return a folder with the files that the policy names."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "gates.pub.pem").write_bytes(PEM)
    (tmp_path / "keys" / "other.pub.pem").write_bytes(OTHER_PEM)
    (tmp_path / "keys" / "broken.pub.pem").write_text("no key")
    (tmp_path / "suite.json").write_text('{"name": "s", "expectations": []}')
    return tmp_path


def load(home, text, name="policy.yaml"):
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_policy(path)


def refusal(home, text):
    with pytest.raises(PolicyError) as caught:
        load(home, text)
    return caught.value


# ---------------------------------------------------------------- what a policy says


def test_everything_a_policy_says_is_read(home):
    policy = load(home, WHOLE)
    assert policy.source == str(home / "policy.yaml")
    assert policy.evidence == home / "evidence"
    assert str(policy.quarantine) == "s3://lake/quarantine"
    assert policy.samples is True
    train = policy.purpose("train")
    assert train.max_age == timedelta(days=7)
    assert [need.stage.name for need in train.requirements] == [
        "scan-for-poisoning",
        "validate-dataset",
    ]
    scan, validate = (need.stage for need in train.requirements)
    assert (scan.label, scan.features, scan.seed) == ("digit", ("a", "b"), 3)
    assert Path(validate.suite) == home / "suite.json"
    assert policy.purpose("explore").max_age is None
    rules = policy.rules_for("scan-for-poisoning")
    assert rules.actions == {
        Severity.CRITICAL: Verdict.BLOCK,
        Severity.WARNING: Verdict.QUARANTINE,
        Severity.INFO: Verdict.WARN,
    }
    assert rules.quarantine_at_most == RowLimit(rows=1000, share=0.2)
    exception = rules.checks["poisoning.label_issues"]
    assert (exception.action, exception.tolerate) == (Verdict.BLOCK, RowLimit(rows=5, share=0.01))
    (waiver,) = policy.waivers
    assert (waiver.check, waiver.subject, waiver.owner) == (
        "validation.range",
        "s3://lake/*",
        "ana@example.org",
    )
    assert waiver.expires == date(2026, 12, 31)
    (key,) = policy.keys
    assert (key.name, key.stages) == ("gates", ("scan-for-poisoning", "quarantine"))
    assert key.not_before == datetime(2026, 1, 1, tzinfo=UTC)
    assert key.not_after == datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


def test_a_version_is_enough_and_the_rest_is_strict_by_default(home):
    policy = load(home, "version: 1\n")
    assert policy.evidence == home / ".sluicegate"
    assert policy.quarantine.local == home / ".sluicegate" / "quarantine"
    assert (policy.purposes, policy.waivers, policy.keys, policy.samples) == ({}, (), (), False)
    rules = policy.rules_for("scan-for-poisoning")
    assert rules.actions[Severity.CRITICAL] is Verdict.BLOCK
    assert rules.quarantine_at_most == RowLimit(share=0.25)


def test_paths_start_from_the_folder_of_the_policy(home, monkeypatch):
    monkeypatch.chdir("/")
    assert load(home, WHOLE).evidence == home / "evidence"
    absolute = WHOLE.replace("evidence: evidence", "evidence: file:///var/lib/evidence")
    assert load(home, absolute).evidence == Path("/var/lib/evidence")


def test_a_purpose_or_key_that_the_policy_does_not_know_is_refused(home):
    policy = load(home, WHOLE)
    with pytest.raises(PolicyError, match=r"no purpose 'trian' \(did you mean 'train'\?\)"):
        policy.purpose("trian")
    assert policy.key(PublicKey(PEM).id).name == "gates"
    with pytest.raises(ClearanceRefused, match="does not trust"):
        policy.key(PublicKey(OTHER_PEM).id)
    with pytest.raises(ConfigurationError, match="needs no stage"):
        Purpose(name="train", requirements=())


# ---------------------------------------------------------------- errors say where

EDITS = [
    # (what is replaced, by what, line, key, what the message says)
    ("version: 1", "version: 2", 2, "version", "policies of version 1"),
    ("version: 1", "version: one", 2, "version", "expected a whole number, found text"),
    ("version: 1", 'version: "1"', 2, "version", "expected a whole number, found text"),
    ("version: 1", "version: 1.0", 2, "version", "expected a whole number"),
    ("version: 1", "version: 0x1", 2, "version", "decimal digits"),
    ("version: 1", "version: 01", 2, "version", "decimal digits"),
    ("version: 1", "version: 1_0", 2, "version", "decimal digits"),
    ("version: 1", "version:", 2, "version", "expected a whole number, found nothing"),
    ("version: 1\n", "", 2, "the policy", "the key 'version' is missing"),
    ("evidence: evidence", "evidnce: evidence", 3, "evidnce", "(did you mean 'evidence'?)"),
    ("evidence: evidence", "evidence: ''", 3, "evidence", "must not be empty"),
    ("evidence: evidence", "evidence: [a]", 3, "evidence", "expected text, found a list"),
    ("evidence: evidence", "evidence: s3://lake/e", 3, "evidence", "local or mounted folder"),
    ("s3://lake/q", "s3://me:pw@lake/q", 4, "quarantine", "carries credentials"),
    ("s3://lake/quarantine", "s3://", 4, "quarantine", "has no path"),
    ("samples: true", "samples: yes", 5, "samples", "write true or false, not 'yes'"),
    ("samples: true", "samples: on", 5, "samples", "write true or false, not 'on'"),
    ("samples: true", "samples: True", 5, "samples", "write true or false, not 'True'"),
    ("samples: true", "samples: 'true'", 5, "samples", "expected true or false, found text"),
    ("samples: true", "samples: 1", 5, "samples", "expected true or false, found a number"),
    ("samples: true", "samples: true\nsamples: true", 6, "samples", "this key occurs twice"),
    ("samples: true", "sample: true", 5, "sample", "(did you mean 'samples'?)"),
    ("samples: true", "[a]: true", 5, "?", "a key must be text"),
    ("  train:", "  train: x\n  exp:", 8, "purposes.train", "expected a mapping, found text"),
    ("  explore:", "  train:", 13, "purposes.train", "this key occurs twice"),
    ("max_age: 7d", "max_age: 7", 9, "purposes.train.max_age", "expected a duration"),
    ("max_age: 7d", "max_agee: 7d", 9, "purposes.train.max_agee", "(did you mean 'max_age'?)"),
    ("    stages: [validate-dataset: {suite: suite.json}]", "    max_age: 1d", 14,
     "purposes.explore", "the key 'stages' is missing"),
    ("stages: [validate-dataset: {suite: suite.json}]", "stages: []", 14,
     "purposes.explore.stages", "at least one stage"),
    ("stages: [validate-dataset: {suite: suite.json}]", "stages: validate-dataset", 14,
     "purposes.explore.stages", "expected a list, found text"),
    ("scan-for-poisoning: {label", "scan-for-poisning: {label", 11,
     "purposes.train.stages[0]", "(did you mean 'scan-for-poisoning'?)"),
    ("{label: digit,", "{lable: digit,", 11, "purposes.train.stages[0]", "no option 'lable'"),
    ("{label: digit,", "{label: 5,", 11, "purposes.train.stages[0]", "label is text, not int"),
    ("seed: 3", "seed: three", 11, "purposes.train.stages[0]", "seed is a whole number, not str"),
    ("seed: 3", "seed: true", 11, "purposes.train.stages[0]", "seed is a whole number, not bool"),
    ("seed: 3", "seed: 3.0", 11, "purposes.train.stages[0]", "seed is a whole number, not float"),
    ("seed: 3", "seed: -1", 11, "purposes.train.stages[0]", "seed is -1"),
    ("seed: 3", "seed: 0x3", 11, "purposes.train.stages[0].scan-for-poisoning.seed", "decimal"),
    ("seed: 3", f"seed: {2**53}", 11, "purposes.train.stages[0]", "no canonical JSON form"),
    ("seed: 3", "seed: 3, seed: 4", 11, "purposes.train.stages[0].scan-for-poisoning.seed",
     "this key occurs twice"),
    ("seed: 3", "seed: {a: 1}", 11, "purposes.train.stages[0].scan-for-poisoning.seed",
     "expected text, found a mapping"),
    ("seed: 3", "seed: .inf", 11, "purposes.train.stages[0].scan-for-poisoning.seed", "finite"),
    ("seed: 3", "seed: .nan", 11, "purposes.train.stages[0].scan-for-poisoning.seed", "finite"),
    ("seed: 3", "seed: 1:30.5", 11, "purposes.train.stages[0].scan-for-poisoning.seed", "finite"),
    ("label: digit, features", "features", 11, "purposes.train.stages[0]", "the option label"),
    ("      - validate-dataset: {suite: suite.json}", "      - validate-dataset: {suite: no.json}",
     12, "purposes.train.stages[1]", "cannot read suite"),
    ("      - validate-dataset: {suite: suite.json}", "      - validate-dataset", 12,
     "purposes.train.stages[1]", "needs the option suite"),
    ("      - validate-dataset: {suite: suite.json}", "      - {a: {}, b: {}}", 12,
     "purposes.train.stages[1]", "expected a stage"),
    ("      - validate-dataset: {suite: suite.json}", "      - validate-dataset:", 12,
     "purposes.train.stages[1].validate-dataset", "expected a mapping, found nothing"),
    ("  scan-for-poisoning:\n    critical", "  scan-for-poison:\n    critical", 17,
     "rules.scan-for-poison", "(did you mean 'scan-for-poisoning'?)"),
    ("critical: block", "critical: blok", 18, "rules.scan-for-poisoning.critical",
     "(did you mean 'block'?)"),
    ("critical: block", "critical: allow", 18, "rules.scan-for-poisoning.critical",
     "found 'allow'"),
    ("critical: block", "critical: inconclusive", 18, "rules.scan-for-poisoning.critical",
     "found 'inconclusive'"),
    ("warning: quarantine", "warnings: quarantine", 19, "rules.scan-for-poisoning.warnings",
     "(did you mean 'warning'?)"),
    ("failed: block, ", "", 22, "rules.scan-for-poisoning.checks.poisoning.label_issues",
     "the key 'failed' is missing"),
    ("rows: 5", "rows: -5", 22,
     "rules.scan-for-poisoning.checks.poisoning.label_issues.tolerate.rows", "at least 0"),
    ("share: 1%", "share: 101%", 22,
     "rules.scan-for-poisoning.checks.poisoning.label_issues.tolerate.share", "between 0 and 1"),
    ("{share: 20%, rows: 1000}", "{}", 23, "rules.scan-for-poisoning.quarantine_at_most",
     "expected rows, share or both"),
    ("{share: 20%, rows: 1000}", "20%", 23, "rules.scan-for-poisoning.quarantine_at_most",
     "expected a mapping, found text"),
    ("check: validation.range\n    ", "", 26, "waivers[0]", "the key 'check' is missing"),
    ("subject: s3://lake/*\n    ", "", 26, "waivers[0]", "the key 'subject' is missing"),
    ("    owner: ana@example.org\n", "", 26, "waivers[0]", "the key 'owner' is missing"),
    ("    reason: The sensor is known to drift.\n", "", 26, "waivers[0]", "'reason' is missing"),
    ("    expires: 2026-12-31\n", "", 26, "waivers[0]", "the key 'expires' is missing"),
    ("owner: ana@example.org", "owner: ' '", 28, "waivers[0].owner", "must not be empty"),
    ("expires: 2026-12-31", "expires: 31.12.2026", 30, "waivers[0].expires", "YYYY-MM-DD"),
    ("expires: 2026-12-31", "expires: 2026-02-30", 30, "waivers[0].expires", "YYYY-MM-DD"),
    ("expires: 2026-12-31", "expires: never", 30, "waivers[0].expires", "YYYY-MM-DD"),
    ("expires: 2026-12-31", "expires: 2026-12-31 10:00:00", 30, "waivers[0].expires", "YYYY-"),
    ("expires: 2026-12-31", "expires:", 30, "waivers[0].expires", "YYYY-MM-DD"),
    ("  - name: gates\n    file", "  - file", 33, "keys[0]", "the key 'name' is missing"),
    ("    file: keys/gates.pub.pem\n", "", 33, "keys[0]", "the key 'file' is missing"),
    ("keys/gates.pub.pem", "keys/none.pem", 34, "keys[0].file", "cannot read the public key"),
    ("keys/gates.pub.pem", "keys/broken.pub.pem", 34, "keys[0].file", "not a public key"),
    ("keys/gates.pub.pem", "keys", 34, "keys[0].file", "cannot read the public key"),
    ("[scan-for-poisoning, quarantine]", "[]", 35, "keys[0].stages", "sign nothing"),
    ("[scan-for-poisoning, quarantine]", "[quarantin]", 35, "keys[0].stages[0]",
     "(did you mean 'quarantine'?)"),
    ("not_before: 2026-01-01", "not_befor: 2026-01-01", 36, "keys[0].not_befor",
     "(did you mean 'not_before'?)"),
    ("    not_after: 2026-12-31\n", "  - {name: x, file: keys/gates.pub.pem, stages: ['*']}\n", 37,
     "keys[1]", "listed twice"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "says"), EDITS, ids=[f"{at[2]} {at[1]}"[:60] for at in EDITS]
)
def test_every_error_names_the_file_the_line_and_the_key(home, old, new, line, key, says):
    assert WHOLE.count(old) >= 1
    error = refusal(home, WHOLE.replace(old, new, 1))
    assert error.what.startswith(f"{home / 'policy.yaml'}:{line}: {key}: ")
    assert says in f"{error.what} {error.next_step}"
    assert "pw@" not in str(error)


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("a: [1\n", ":2", "not YAML"),
        ("a: 1\n b: 2\n", ":2", "not YAML"),
        ("version: 1\nx: &x {a: 1}\ny: *x\n", ":3", "aliases are not allowed"),
        ("version: 1\n---\nversion: 1\n", ":2", "another document"),
        ("version: 1\nevidence: \x07\n", ":2", "not YAML"),
        ("version: 1\n\tx: 2\n", ":2", "not YAML"),
        ("", "", "is empty"),
        ("# only a comment\n", "", "is empty"),
        (b"version: 1\nevidence: caf\xe9\n", "", "not UTF-8 at byte 24"),
        ("- version: 1\n", ":1", "expected a mapping, found a list"),
        ("policy\n", ":1", "expected a mapping, found text"),
        ("[" * 200_000, ":1", "nested more than 50 deep"),
        ("version: 1\nx:\n" + "- " * 200_000 + "y", ":3", "nested more than 50 deep"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_is_no_policy_at_all_is_refused(home, text, where, says):
    error = refusal(home, text)
    assert error.what.startswith(f"{home / 'policy.yaml'}{where}")
    assert says in error.what


def test_a_few_aliases_that_would_expand_to_gigabytes_are_refused_at_once(home):
    bomb = "a0: &a0 [x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    assert "aliases are not allowed" in refusal(home, "version: 1\n" + bomb).what


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system ['id']", "!!binary aGk=", "!x y"])
def test_a_tag_is_never_followed(home, tag):
    error = refusal(home, WHOLE.replace("evidence: evidence", f"evidence: {tag}"))
    assert error.what.startswith(f"{home / 'policy.yaml'}:3: evidence: expected text")


def test_a_file_that_cannot_be_read_is_refused(home):
    with pytest.raises(PolicyError, match="cannot read the policy"):
        load_policy(home / "missing.yaml")
    with pytest.raises(PolicyError, match="cannot read the policy"):
        load_policy(home)


def test_arguments_decide_then_the_environment_then_the_working_directory(home, monkeypatch):
    monkeypatch.chdir(home)
    monkeypatch.delenv("SLUICEGATE_POLICY", raising=False)
    with pytest.raises(PolicyError, match="no policy"):
        find_policy(None)
    (home / "policy.yaml").write_text("version: 1\n")
    assert find_policy(None) == Path("policy.yaml")
    monkeypatch.setenv("SLUICEGATE_POLICY", "/etc/sluicegate.yaml")
    assert find_policy(None) == Path("/etc/sluicegate.yaml")
    assert find_policy("mine.yaml") == Path("mine.yaml")
    with pytest.raises(PolicyError, match=r"/etc/sluicegate\.yaml"):
        load_policy()


def test_a_policy_that_is_loaded_already_is_used_as_it_is(home):
    policy = default_policy(home)
    assert load_policy(policy) is policy
    assert policy.evidence == home / ".sluicegate"
    assert not policy.keys
    assert not policy.purposes


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_no_edit_of_a_policy_ever_escapes_as_another_error(tmp_path_factory, data):
    home = tmp_path_factory.getbasetemp() / "fuzz"
    home.mkdir(exist_ok=True)
    text = re.sub(r"(?s)keys:.*", "", WHOLE.replace("suite.json", str(home / "suite.json")))
    (home / "suite.json").write_text("{}")
    at = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, 12))
    words = ["{", "[", "]", ": ", "- ", "\n", "  ", "&a", "*a", "!!int ", "null", "1e999", "0x1f"]
    words += [".nan", "9999999d", "99999999999999999999", "'", '"', "|", "%", "\x00", "~", "-1"]
    new = data.draw(st.sampled_from(words) | st.text(max_size=5))
    found = []
    try:
        load(home, (text[:at] + new + text[at + length :]).encode("utf-8", "surrogatepass"))
    except PolicyError as error:
        found.append(error.what)
    assert all(str(home / "policy.yaml") in what for what in found)


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("12h", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(days=14)),
        ("7 d", timedelta(days=7)),
        ("999999w", timedelta(weeks=999999)),
    ],
)
def test_durations_are_a_number_and_a_unit(home, written, meant):
    assert load(home, WHOLE.replace("7d", written)).purpose("train").max_age == meant


@pytest.mark.parametrize(
    "written",
    [
        *("0d", "7", "d", "-7d", "1.5h", "7D", "7days", "1h30m", "1y", "''", "[7d]", "{d: 7}"),
        *("1_0d", "99999999999999d", "\N{ARABIC-INDIC DIGIT ONE}d"),
    ],
)
def test_what_is_no_duration_is_refused(home, written):
    error = refusal(home, WHOLE.replace("max_age: 7d", f"max_age: {written}"))
    assert "expected a duration" in error.what


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("20%", 0.2),
        ("'20%'", 0.2),
        ("0.2", 0.2),
        (".5", 0.5),
        ("2.5%", 0.025),
        ("0%", 0.0),
        ("100%", 1.0),
        ("0", 0.0),
        ("1", 1.0),
    ],
)
def test_shares_are_fractions_or_percentages(home, written, meant):
    policy = load(home, WHOLE.replace("share: 20%", f"share: {written}"))
    assert policy.rules_for("scan-for-poisoning").quarantine_at_most.share == pytest.approx(meant)


@pytest.mark.parametrize(
    "written",
    [
        *("-1%", "100.1%", "1.1", "-0.1", "'%'", "x%", "nan%", "inf%", ".nan", ".inf", "true"),
        *("'0.2'", "[20%]", "20 percent", "''", "", "1:30.5", "0x0", "01"),
    ],
)
def test_what_is_no_share_is_refused_with_its_place(home, written):
    error = refusal(home, WHOLE.replace("share: 20%", f"share: {written}"))
    assert ":23: rules.scan-for-poisoning.quarantine_at_most.share: " in error.what


# ---------------------------------------------------------------- the digest


def digest(home, text, name="policy.yaml"):
    return load(home, text, name).digest


SAME = {
    "comments": ("# Everything that a policy can say.", "# Nothing.\n\n# Much."),
    "flow style": ("stages: [validate-dataset: {suite: suite.json}]",
                   "stages:\n      - validate-dataset:\n          suite: suite.json"),
    "quotes": ("critical: block", "'critical': \"block\""),
    "order of keys": ("critical: block\n    warning: quarantine",
                      "warning: quarantine\n    critical: block"),
    "share as a fraction": ("share: 20%", "share: 0.2"),
    "another unit": ("max_age: 7d", "max_age: 1w"),
    "a default written out": ("seed: 3", "seed: 3, folds: 5"),
    "a dash for an underscore": ("label: digit,", "label: digit, expected-labels: [],"),
    "where evidence lies": ("evidence: evidence", "evidence: elsewhere"),
    "where quarantines go": ("s3://lake/quarantine", "gs://other/place"),
    "whether reports show samples": ("samples: true", "samples: false"),
    "which keys are trusted": ("keys/gates.pub.pem", "keys/other.pub.pem"),
    "what a key may sign": ("[scan-for-poisoning, quarantine]", "['*']"),
    "when a key is valid": ("not_after: 2026-12-31", "not_after: 2036-12-31"),
    "the name of a key": ("name: gates", "name: doors"),
}  # fmt: skip

SCAN = "      - scan-for-poisoning: {label: digit, features: [a, b], seed: 3}\n"
VALIDATE = "      - validate-dataset: {suite: suite.json}\n"
OTHER = {
    "an option of a stage": ("seed: 3", "seed: 4"),
    "a list in an option": ("features: [a, b]", "features: [b, a]"),
    "the label": ("label: digit", "label: class"),
    "the order of stages": (SCAN + VALIDATE, VALIDATE + SCAN),
    "a stage less": (VALIDATE, ""),
    "the age of receipts": ("max_age: 7d", "max_age: 8d"),
    "no age at all": ("    max_age: 7d\n", ""),
    "the name of a purpose": ("explore:", "deploy:"),
    "a purpose less": ("  explore:\n    stages: [validate-dataset: {suite: suite.json}]\n", ""),
    "an action": ("critical: block", "critical: warn"),
    "another action": ("info: warn", "info: block"),
    "the rule of a check": ("failed: block", "failed: warn"),
    "the name of a check": ("poisoning.label_issues", "poisoning.trigger_items"),
    "tolerated rows": ("rows: 5", "rows: 6"),
    "a tolerated share": ("share: 1%", "share: 2%"),
    "no tolerance": (", tolerate: {rows: 5, share: 1%}", ""),
    "the quarantine limit": ("share: 20%", "share: 21%"),
    "the quarantine limit in rows": ("rows: 1000", "rows: 1001"),
    "a limit less": (", rows: 1000", ""),
    "the check of a waiver": ("validation.range", "validation.type"),
    "the subject of a waiver": ("subject: s3://lake/*", "subject: '*'"),
    "the owner of a waiver": ("ana@", "bob@"),
    "the reason of a waiver": ("known to drift", "known to lie"),
    "the end of a waiver": ("expires: 2026-12-31", "expires: 2027-12-31"),
}


@pytest.mark.parametrize("change", SAME)
def test_what_does_not_decide_leaves_the_digest_alone(home, change):
    old, new = SAME[change]
    assert WHOLE.count(old) == 1
    assert digest(home, WHOLE.replace(old, new)) == digest(home, WHOLE)


@pytest.mark.parametrize("change", OTHER)
def test_whatever_decides_changes_the_digest(home, change):
    old, new = OTHER[change]
    assert WHOLE.count(old) == 1
    assert digest(home, WHOLE.replace(old, new)) != digest(home, WHOLE)


def test_all_these_changes_have_different_digests(home):
    found = {digest(home, WHOLE.replace(*change)) for change in OTHER.values()}
    assert len(found) == len(OTHER)


def test_the_content_of_a_suite_is_part_of_the_digest_and_its_name_is_not(home):
    before = digest(home, WHOLE)
    (home / "other.json").write_bytes((home / "suite.json").read_bytes())
    assert digest(home, WHOLE.replace("suite: suite.json", "suite: other.json")) == before
    (home / "suite.json").write_text('{"name": "s", "expectations": [{}]}')
    assert digest(home, WHOLE) != before


def test_where_the_policy_lies_is_not_part_of_its_digest(home, tmp_path_factory):
    other = tmp_path_factory.mktemp("elsewhere")
    for name in ("suite.json", "keys/gates.pub.pem"):
        (other / name).parent.mkdir(exist_ok=True)
        (other / name).write_bytes((home / name).read_bytes())
    assert digest(other, WHOLE, "deep.yaml") == digest(home, WHOLE)


def test_only_the_exact_configuration_of_a_stage_is_found_by_its_digest(home):
    policy = load(home, WHOLE)
    need = policy.purpose("train").requirements[0]
    assert policy.find_stage("scan-for-poisoning", need.configuration) == need.stage
    assert policy.find_stage("validate-dataset", need.configuration) is None
    other = load(home, WHOLE.replace("seed: 3", "seed: 4"))
    assert other.find_stage("scan-for-poisoning", need.configuration) is None


# ---------------------------------------------------------------- trusted keys


@pytest.mark.parametrize(
    ("stage", "issued", "now", "why"),
    [
        ("scan-for-poisoning", "2026-06-01", "2026-06-02", None),
        ("quarantine", "2026-01-01", "2026-12-31", None),
        ("validate-dataset", "2026-06-01", "2026-06-02", "validate-dataset"),
        ("scan-for-poisoning", "2025-12-31", "2026-06-02", "not valid yet"),
        ("scan-for-poisoning", "2026-06-01", "2027-01-01", "expired on 2026-12-31"),
        ("scan-for-poisoning", "2027-01-01", "2027-01-01", "expired on 2026-12-31"),
    ],
)
def test_a_key_may_sign_its_stages_in_its_time_and_nothing_else(home, stage, issued, now, why):
    (key,) = load(home, WHOLE).keys
    moments = {
        "issued": datetime.fromisoformat(f"{issued}T12:00:00+00:00"),
        "now": datetime.fromisoformat(f"{now}T12:00:00+00:00"),
    }
    if why is None:
        key.check(stage, **moments)
        return
    with pytest.raises(ClearanceRefused, match=why):
        key.check(stage, **moments)


def test_a_star_among_the_stages_of_a_key_is_every_stage(home):
    (key,) = load(home, WHOLE.replace("[scan-for-poisoning, quarantine]", "['*']")).keys
    moment = datetime(2026, 6, 1, tzinfo=UTC)
    for stage in (*stage_names(), "quarantine"):
        key.check(stage, issued=moment, now=moment)


def test_a_misspelt_check_in_the_rules_is_refused(tmp_path):
    text = "version: 1\nrules:\n  scan-for-poisoning:\n    checks:\n"
    (tmp_path / "policy.yaml").write_text(text + "      poisoning.label_isues: {failed: block}\n")
    with pytest.raises(PolicyError, match=r"yaml:5: .*did you mean 'poisoning\.label_issues'"):
        load_policy(tmp_path / "policy.yaml")
    (tmp_path / "policy.yaml").write_text(text + "      poisoning.label_issues: {failed: block}\n")
    load_policy(tmp_path / "policy.yaml")
