"""The stage as a whole: what is asked follows from subject and options; fail closed."""

from __future__ import annotations

import json
from pathlib import Path

import boto3
import pytest

from sluicegate.cli.main import main
from sluicegate.cli.simulator import simulate_aws
from sluicegate.errors import ConfigurationError, SubjectError
from sluicegate.model import Outcome
from sluicegate.stages.base import Context, configuration, configuration_files
from sluicegate.stages.encryption import CheckEncryption
from sluicegate.stages.encryption.areas import all_areas, all_questions
from sluicegate.stages.encryption.permissions import least_privilege
from sluicegate.stages.registry import build_stage
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri
from tests.lake import POLICY, mend

SUBJECT = "s3://lake/train"
KEY = "arn:aws:kms:eu-west-1:111122223333:key/0f1e2d3c-0000-4000-8000-000000000000"
NOT_SIMULATED = (
    "encryption.s3_account_public_access_block",  # needs a host name for the account
    "encryption.s3_bucket_sse_c_blocked",
)
POSTURE = (
    "encryption.s3_bucket_logging",
    "encryption.s3_bucket_object_lock",
    "encryption.s3_object_lock",
)


@pytest.fixture
def aws(tmp_path, monkeypatch):
    """Run a simulated AWS with a bucket that holds two objects, as a bucket is found."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with simulate_aws(tmp_path / "aws") as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        s3 = running.client("s3")
        s3.create_bucket(Bucket="lake")
        upload(s3)
        yield running
    boto3.DEFAULT_SESSION = None


def upload(s3, **how):
    for name in ("a.csv", "b.csv"):
        s3.put_object(
            Bucket="lake", Key=f"train/{name}", Body=b"x\n1\n", ChecksumAlgorithm="SHA256", **how
        )


def run(subject=SUBJECT, **options):
    stage = CheckEncryption(**options)
    snapshot = take_snapshot(SubjectUri.parse(subject))
    return stage.run(snapshot, Context(files=configuration_files(stage)))


def outcomes(report):
    return {check.id.removeprefix("encryption."): check.outcome for check in report.checks}


def test_a_bucket_as_it_is_found_fails_and_the_report_says_how_to_mend_it(aws):
    report = run()
    found = outcomes(report)
    for name in ("s3_object_mode", "s3_bucket_default", "s3_bucket_plain_http"):
        assert found[name] is Outcome.FAILED
    explained = {row["id"]: row for row in report.tables["questions"]}
    assert "put-bucket-encryption" in explained["encryption.s3_bucket_default"]["remedy"]
    assert "FSBP S3.5" in explained["encryption.s3_bucket_plain_http"]["controls"]
    assert report.metrics["checks_failed"] == sum(
        outcome is Outcome.FAILED for outcome in found.values()
    )


def test_a_mended_bucket_passes_and_its_key_is_looked_at(aws):
    key = mend(aws)
    upload(aws.client("s3"))
    report = run(modes=("SSE-KMS",), kms_keys=(key,), skip=(*NOT_SIMULATED, *POSTURE))
    wrong = [
        (check.id, check.reason or check.findings[0].message)
        for check in report.checks
        if check.outcome is not Outcome.PASSED
    ]
    # The header of an upload may still name another key, and a presigned URL lives as long as
    # S3 lets it: the policy says nothing about either.
    assert {name for name, _ in wrong} == {
        "encryption.s3_bucket_unencrypted_put",
        "encryption.s3_presigned",
    }, wrong
    assert outcomes(report)["kms_key_state"] is Outcome.PASSED


def test_the_same_bytes_stored_otherwise_are_another_report(aws):
    mend(aws)
    upload(aws.client("s3"))
    before = run(modes=("SSE-KMS",), checks=("encryption.s3_object_mode",))
    assert outcomes(before) == {"s3_object_mode": Outcome.PASSED}
    s3 = aws.client("s3")
    s3.delete_bucket_policy(Bucket="lake")
    s3.put_object(Bucket="lake", Key="train/b.csv", Body=b"x\n1\n", ServerSideEncryption="AES256")
    report = run(modes=("SSE-KMS",), checks=("encryption.s3_object_mode",))
    (check,) = report.checks
    assert check.outcome is Outcome.FAILED
    assert check.findings[0].files == ("b.csv",)


def test_the_same_state_gives_the_same_report(aws):
    assert run(skip=NOT_SIMULATED).to_json() == run(skip=NOT_SIMULATED).to_json()


def test_nothing_that_cannot_be_reached_passes(aws, monkeypatch):
    snapshot = take_snapshot(SubjectUri.parse(SUBJECT))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:9")
    monkeypatch.setattr("sluicegate.stages.encryption.stage.Aws", few_tries)
    report = CheckEncryption(kms_keys=(KEY,)).run(snapshot, Context())
    assert {check.outcome for check in report.checks} == {Outcome.UNKNOWN}


def few_tries():
    from sluicegate.stages.encryption.aws import Aws

    return Aws(attempts=1, seconds=2)


def test_checks_are_chosen_and_left_out_by_name(aws):
    report = run(checks=("encryption.s3_bucket_*",), skip=("*_http", *NOT_SIMULATED))
    names = outcomes(report)
    assert "s3_bucket_below_tls12" in names
    assert "s3_bucket_plain_http" not in names
    assert all(name.startswith("s3_bucket_") for name in names)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"checks": ("encryption.s3_object_modes",)}, "no check is called"),
        ({"skip": ("s3_object_moed",)}, "no check is called"),
        ({"modes": ("aes",)}, "expected one of SSE-S3"),
        ({"modes": ()}, "at least one"),
        ({"kms_keys": ("alias/mine",)}, "full ARN"),
        ({"owner": "1234"}, "twelve digits"),
        ({"sample": 0.9}, "at most 0.1"),
        ({"checks": "encryption.volume"}, "a tuple of texts"),
        ({"client_side": "no"}, "true or false"),
        ({"timeout": "5"}, "a number"),
        ({"endpoints": ("https://token@localhost",)}, "may be a credential"),
        ({"checks": ("s3_object_mode", "volume")}, "applies to nothing here"),
        ({"client_side": True, "checks": ("volume",)}, "no chosen check looks at it"),
        ({"certificate_days": -1}, "0 or more"),
        ({"timeout": 0.0}, "at most 60"),
        ({"endpoints": ("https://me:hush@localhost",)}, "(?i)credential|password"),
        ({"resources": ("arn:aws:unheard:eu-west-1:111122223333:of",)}, "(?i)unheard|supported"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, options, says):
    (tmp_path / "a.csv").write_text("x\n1\n")
    with pytest.raises(ConfigurationError, match=says) as caught:
        run(str(tmp_path / "a.csv"), **options)
    assert "hush" not in str(caught.value)


def test_there_must_be_something_to_ask(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    with pytest.raises(ConfigurationError, match="nothing to ask"):
        run(str(tmp_path / "a.csv"), checks=("encryption.s3_*",))


def test_every_question_is_asked_in_one_way_only():
    ids = [question.id for question in all_questions()]
    assert len(ids) == len(set(ids))
    assert set(CheckEncryption.check_ids) == set(ids)
    for question in all_questions():
        assert question.asks.endswith("?"), question.id
        assert question.remedy, question.id
        assert question.control_ids, question.id


def test_every_permission_is_on_something_that_its_area_names():
    stage = CheckEncryption(
        kms_keys=(KEY,),
        resources=("arn:aws:sqs:eu-west-1:111122223333:queue",),
        endpoints=("https://localhost",),
        inventory="s3://reports/lake",
    )
    subject = SubjectUri.parse(SUBJECT)
    for area in all_areas():
        named = area.resources(stage, subject)
        for question in area.questions:
            for permission in question.permissions:
                known = permission.on in named or permission.on == "*"
                assert known or area.name == "stores", (question.id, permission)


def test_the_least_privilege_names_the_actions_of_what_is_asked_and_no_more():
    options = {"kms_keys": (KEY,), "checks": ("encryption.s3_bucket_plain_http",)}
    policy = least_privilege(CheckEncryption(**options), SubjectUri.parse(SUBJECT))
    by_resource = {str(one["Resource"]): one["Action"] for one in policy["Statement"]}
    assert by_resource == {
        KEY: ["kms:Decrypt"],
        "arn:aws:s3:::lake": ["s3:GetBucketPolicy", "s3:ListBucket"],
        "['arn:aws:s3:::lake/train', 'arn:aws:s3:::lake/train/*']": ["s3:GetObject"],
    }


def test_the_gate_reads_what_a_kms_key_encrypts_through_s3_only():
    stage = CheckEncryption(modes=("SSE-KMS",), checks=("s3_object_mode",))
    statements = least_privilege(stage, SubjectUri.parse(SUBJECT))["Statement"]
    (decrypt,) = [one for one in statements if "kms:Decrypt" in one["Action"]]
    assert decrypt["Resource"] == "*"
    assert "kms:ViaService" in str(decrypt["Condition"])
    with pytest.raises(ConfigurationError, match="needs no permission"):
        least_privilege(CheckEncryption(), SubjectUri.parse("data.csv"))
    with pytest.raises(ConfigurationError, match="no check is called"):
        least_privilege(CheckEncryption(checks=("nope",)), SubjectUri.parse(SUBJECT))


def test_an_alias_is_no_resource_of_a_policy():
    alias = "arn:aws:kms:eu-west-1:111122223333:alias/lake"
    policy = least_privilege(CheckEncryption(kms_keys=(alias,)), SubjectUri.parse(SUBJECT))
    text = json.dumps(policy)
    assert "alias/" not in text
    assert "arn:aws:kms:eu-west-1:111122223333:key/*" in text


def test_reports_of_other_tools_are_bound_by_their_content(tmp_path):
    first, second = tmp_path / "one.json", tmp_path / "two.json"
    first.write_text("[]")
    second.write_text("{}")
    stage = build_stage("check-encryption", {"reports": ["one.json", "two.json"]}, base=tmp_path)
    files = configuration_files(stage)
    assert files == {"reports[0]": b"[]", "reports[1]": b"{}"}
    (one, two) = configuration(stage, files)["fields"]["reports"]
    assert one != two
    assert str(tmp_path) not in json.dumps(configuration(stage, files))


def test_a_connection_of_the_orchestrator_is_a_subject(monkeypatch):
    monkeypatch.setenv(
        "AIRFLOW_CONN_FEATURES", "postgresql://me:hush-hush@db.example:5432/ml?sslmode=prefer"
    )
    report = run("airflow-connection://features", checks=("encryption.connection_*",))
    found = outcomes(report)
    assert found["connection_verification"] is Outcome.FAILED
    assert "hush" not in json.dumps(report.to_json())
    monkeypatch.setenv(
        "AIRFLOW_CONN_FEATURES",
        "postgresql://me:hush-hush@db.example:5432/ml?sslmode=verify-full&sslrootcert=ca.pem",
    )
    assert outcomes(run("airflow-connection://features"))["connection_verification"] is (
        Outcome.PASSED
    )


def test_an_object_with_the_name_of_the_folder_hides_nothing(aws):
    aws.client("s3").put_object(Bucket="lake", Key="train", Body=b"x")
    with pytest.raises(SubjectError, match="there are objects below"):
        run()


# From outside.


def commands(parser, words=()):
    """Yield the words of every command."""
    yield words
    for action in parser._subparsers._group_actions if parser._subparsers else ():
        for name, sub in action.choices.items():
            yield from commands(sub, (*words, name))


def test_every_command_can_say_what_it_does(capsys):
    from sluicegate.cli.main import _parser

    for words in commands(_parser([])):
        with pytest.raises(SystemExit) as ended:
            main([*words, "--help"])
        assert ended.value.code == 0
        assert "usage:" in capsys.readouterr().out, words


def test_what_a_library_prints_does_not_get_between_the_json(aws, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def loud(self, snapshot, context):
        print("a library has something to say")
        return real(self, snapshot, context)

    real = CheckEncryption.run
    monkeypatch.setattr(CheckEncryption, "run", loud)
    main(["gate", "check-encryption", SUBJECT, "--json", "--checks", "s3_object_mode"])
    printed = capsys.readouterr()
    assert json.loads(printed.out)["checks"][0]["id"] == "encryption.s3_object_mode"
    assert "has something to say" in printed.err


def test_the_command_line_tells_every_check(aws, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    words = ["gate", "check-encryption", SUBJECT, "--json", "--endpoint-url", aws.secure]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")  # the flag wins over it
    skipped = ["--skip", *NOT_SIMULATED, *POSTURE]
    assert main([*words, *skipped]) == 1
    report = json.loads(capsys.readouterr().out)
    told = {check["id"]: check["outcome"] for check in report["checks"]}
    assert told["encryption.s3_object_mode"] == "failed"
    assert told["encryption.s3_public_read"] == "passed"
    assert report["verdict"] == "block"


def test_an_endpoint_with_a_password_is_refused_without_repeating_it(capsys):
    words = ["gate", "check-encryption", SUBJECT, "--endpoint-url", "https://me:hush@localhost"]
    assert main(words) == 2
    assert "hush" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("statements", "asked", "code", "answers"),
    [
        (POLICY["Statement"], [], 1, ("refused", "refused", "open")),
        (POLICY["Statement"], ["--default-mode", "SSE-KMS"], 0, ("refused",) * 3),
        (POLICY["Statement"][:1], ["--ask", "plain_http"], 0, ("refused", "open", "open")),
        (POLICY["Statement"][1:], ["--ask", "plain_http"], 1, ("open", "refused", "open")),
    ],
)
def test_a_policy_is_evaluated_from_the_command_line(
    tmp_path, capsys, statements, asked, code, answers
):
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({"Version": "2012-10-17", "Statement": statements}))
    words = ["encryption", "evaluate-policy", str(path), "--bucket", "lake", "--json", *asked]
    assert main(words) == code
    told = json.loads(capsys.readouterr().out)
    assert (told["plain_http"], told["below_tls12"], told["unencrypted_put"]) == answers
    opened = [
        name for name in ("plain_http", "below_tls12", "unencrypted_put") if told[name] == "open"
    ]
    assert list(told["counterexamples"]) == opened
    assert told["counterexample"] == (told["counterexamples"][opened[0]] if opened else None)


def test_a_policy_that_cannot_be_read_is_no_answer(tmp_path, capsys):
    path = tmp_path / "policy.json"
    path.write_text('{"Statement": [{"Effect": "Deny"}]}')
    words = ["encryption", "evaluate-policy", str(path), "--bucket", "lake", "--json"]
    assert main(words) == 2
    assert "Statement[0]" in capsys.readouterr().out


def test_the_iam_policy_is_printed_without_any_call(capsys, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:9")
    assert main(["iam-policy", SUBJECT, "--kms-keys", KEY]) == 0
    policy = json.loads(capsys.readouterr().out)
    actions = {action for one in policy["Statement"] for action in one["Action"]}
    assert {"s3:GetObjectVersion", "s3:GetEncryptionConfiguration", "kms:DescribeKey"} <= actions
    assert all(one["Effect"] == "Allow" for one in policy["Statement"])


def test_the_table_of_checks_in_the_documentation_is_the_one_of_the_code():
    import importlib.util

    root = Path(__file__).resolve().parents[2]
    spec = importlib.util.spec_from_file_location("table", root / "scripts/encryption_table.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PAGE.read_text() == script.page(), (
        "run python scripts/encryption_table.py --write"
    )
