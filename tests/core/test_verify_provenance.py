"""The stage: steps, roots, publishers and delays; and a real scene through the gate."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sluicegate.canonical import Digest
from sluicegate.clearance import open_cleared
from sluicegate.errors import ClearanceRefused, ConfigurationError, LedgerError, ReceiptError
from sluicegate.gate import run_gate
from sluicegate.model import Outcome, Verdict
from sluicegate.policy.load import load_policy
from sluicegate.receipts.keys import FileSigner
from sluicegate.receipts.lineage import HELD, SEEN
from sluicegate.receipts.statement import ProductionStatement, Subject
from sluicegate.signing import attest, open_evidence
from sluicegate.stages.base import Context, configuration, configuration_files, stage_fields
from sluicegate.stages.provenance import VerifyProvenance, publisher
from sluicegate.stages.provenance import stage as stage_module
from sluicegate.stages.registry import BUILT_IN
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri
from tests.histories import RUN, START, Ledger, digest, subject

BUILT_IN.setdefault("verify-provenance", "sluicegate.stages.provenance:VerifyProvenance")
RAW = subject("raw")
LATER = START + timedelta(days=30)
PASSED, FAILED, UNKNOWN = Outcome.PASSED, Outcome.FAILED, Outcome.UNKNOWN


@pytest.fixture
def now(monkeypatch):
    """Stop the stage's clock, thirty days after the ledgers of these tests begin."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return LATER

    monkeypatch.setattr(stage_module, "datetime", Clock)


@pytest.fixture
def model(tmp_path):
    """Return the snapshot of a model: two files."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"weights")
    (folder / "b.json").write_bytes(b"{}")
    return take_snapshot(SubjectUri.parse(folder))


def trained(model) -> Ledger:
    ledger = Ledger()
    ledger.make(RAW)
    ledger.make(Subject.of(model), RAW, activity="train", key="trainer")
    return ledger


def run(model, ledger, *, files=None, **options):
    stage = VerifyProvenance(**{"sources": ("s3://lake/*",)} | options)
    records = None if ledger is None else (lambda: ledger)
    context = Context(files=files or configuration_files(stage), records=records)
    return stage.run(model, context)


def outcomes(report) -> dict[str, Outcome]:
    return {check.id.partition(".")[2]: check.outcome for check in report.checks}


def wrong(report) -> dict[str, Outcome]:
    return {name: one for name, one in outcomes(report).items() if one is not PASSED}


# Chains


def test_a_sound_chain_passes_every_step(now, model):
    report = run(model, trained(model))
    assert wrong(report) == {}
    assert [row["step"] for row in report.tables["steps"]] == sorted(
        row["step"] for row in report.tables["steps"]
    )
    assert report.metrics == {"links": 2, "depth": 1, "sources": 1, "problems": 0}
    (figure,) = report.figures
    assert [node["state"] for node in figure.to_json()["nodes"]] == ["sound", "source"]


def test_the_same_ledger_gives_the_same_report(now, model):
    ledger = trained(model)
    assert run(model, ledger).to_json() == run(model, ledger).to_json()


def test_a_model_that_nobody_made_fails(now, model):
    assert wrong(run(model, Ledger())) == {
        "origin": FAILED,
        "missing": FAILED,
        "sources": UNKNOWN,
    }


def test_a_changed_model_fails_and_names_both_digests(now, model):
    ledger = trained(model)
    (model.uri.local / "a.bin").write_bytes(b"backdoor")
    changed = take_snapshot(model.uri)
    report = run(changed, ledger)
    assert wrong(report) == {"origin": FAILED, "swapped": FAILED, "sources": UNKNOWN}
    (finding,) = next(c for c in report.checks if c.id == "provenance.swapped").findings
    assert finding.evidence["expected"] == f"merkleRoot:{model.digest.hex}"
    assert finding.evidence["found"] == f"merkleRoot:{changed.digest.hex}"
    assert finding.evidence["ledger_entry"] == 1


@pytest.mark.parametrize(
    ("damage", "failed"),
    [
        (lambda ledger: ledger.edit(1, made_from=(subject("raw", "other"),)), {"swapped"}),
        (lambda ledger: ledger.edit(1, made_from=(subject("elsewhere"),)), {"missing"}),
        (lambda ledger: ledger.drop(0), {"missing"}),
        (lambda ledger: ledger.change(0, index=9), {"order"}),
        (lambda ledger: ledger.change(0, objection="key expired"), {"keys"}),
        (lambda ledger: ledger.make(RAW, subject("x")), {"forked"}),
        (lambda ledger: ledger.edit(0, made_from=(RAW,)), {"cyclic", "order"}),
        (lambda ledger: ledger.tell(RAW, HELD), {"hold"}),
    ],
)
def test_each_fault_fails_its_own_step(now, model, damage, failed):
    ledger = trained(model)
    damage(ledger)
    report = run(model, ledger)
    found = {name for name, outcome in outcomes(report).items() if outcome is FAILED}
    assert found == failed


def test_without_a_ledger_nothing_is_known(now, model):
    assert set(outcomes(run(model, None)).values()) == {UNKNOWN}


def test_a_damaged_ledger_is_no_pass(now, model):
    class Damaged(Ledger):
        def __iter__(self):
            raise LedgerError("entry 3 is damaged")

    report = run(model, Damaged())
    assert set(outcomes(report).values()) == {UNKNOWN}
    assert "entry 3" in report.checks[0].reason


def test_a_chain_that_is_too_deep_is_unknown(now, model):
    ledger, before = Ledger(), RAW
    ledger.make(RAW)
    for number in range(5):
        ledger.make(subject(f"s{number}"), before)
        before = subject(f"s{number}")
    ledger.make(Subject.of(model), before)
    assert wrong(run(model, ledger, max_depth=6)) == {}
    report = run(model, ledger, max_depth=5)
    assert FAILED not in outcomes(report).values()
    assert outcomes(report)["missing"] is UNKNOWN
    assert outcomes(report)["sources"] is UNKNOWN
    assert outcomes(run(model, ledger, max_depth=5, require=("train",)))["required"] is UNKNOWN


# Sources


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (("s3://lake/*",), PASSED),
        (("*",), PASSED),
        (("s3://lake/raw",), PASSED),
        (("gates",), PASSED),
        (("s3://lake/ra",), FAILED),
        (("s3://lak?/*",), FAILED),
        (("s3://lak./*",), FAILED),
        (("trainer",), FAILED),
        ((), UNKNOWN),
    ],
)
def test_chains_begin_where_they_may(now, model, sources, expected):
    assert outcomes(run(model, trained(model), sources=sources))["sources"] is expected


def test_an_admission_is_a_source_like_another(now, model):
    ledger = Ledger()
    ledger.judge(RAW)
    ledger.make(Subject.of(model), RAW)
    assert wrong(run(model, ledger)) == {}
    assert wrong(run(model, ledger, sources=("s3://other/*",))) == {"sources": FAILED}
    assert "missing" in wrong(run(model, ledger, admitted_by=()))


def test_a_model_is_no_source_of_itself_after_a_verdict_on_it(now, model):
    """A verdict of this stage on a model does not hide that its chain has broken since."""
    ledger = trained(model)
    ledger.judge(Subject.of(model), published=False)
    ledger.drop(1)
    assert wrong(run(model, ledger, sources=("*",))) == {
        "origin": FAILED,
        "missing": FAILED,
        "sources": UNKNOWN,
    }


# Age, delay, requirements


def test_old_statements_do_not_count_if_the_policy_says_so(now, model):
    assert wrong(run(model, trained(model), max_age="31d")) == {}
    assert wrong(run(model, trained(model), max_age="29d")) == {"age": FAILED}


def test_required_activities_and_depth(now, model):
    assert wrong(run(model, trained(model), require=("train", "import"), require_depth=1)) == {}
    assert wrong(run(model, trained(model), require=("review",))) == {"required": FAILED}
    assert wrong(run(model, trained(model), require_depth=2)) == {"required": FAILED}


def test_data_must_have_been_known_before_it_was_used(now, model):
    ledger = Ledger()
    ledger.tell(RAW, SEEN)
    ledger.clock = START + timedelta(days=7)
    ledger.make(RAW)
    ledger.make(Subject.of(model), RAW)
    assert wrong(run(model, ledger, quarantine_delay="7d")) == {}
    assert wrong(run(model, ledger, quarantine_delay="8d")) == {"delay": FAILED}


def test_what_an_expired_key_saw_starts_no_delay(now, model):
    ledger = Ledger()
    ledger.tell(RAW, SEEN)
    ledger.clock = START + timedelta(days=7)
    ledger.make(RAW)
    ledger.make(Subject.of(model), RAW)
    ledger.change(0, objection="key expired")
    assert wrong(run(model, ledger, quarantine_delay="7d")) == {"delay": FAILED}


def test_a_quarantine_in_between_is_no_use(now, model):
    ledger, clean = Ledger(), subject("clean")
    ledger.make(RAW)
    verdict = ledger.judge(RAW, Verdict.QUARANTINE, stage="scan")
    ledger.set_aside(RAW, clean, verdict=verdict.digest)
    ledger.clock = START + timedelta(days=7)
    ledger.make(Subject.of(model), clean)
    assert wrong(run(model, ledger, quarantine_delay="7d")) == {}
    assert wrong(run(model, ledger, quarantine_delay="8d")) == {"delay": FAILED}


def test_a_transformation_in_between_is_a_use_of_its_own_and_no_fresh_source(now, model):
    ledger, clean = Ledger(), subject("clean")
    ledger.tell(RAW, SEEN)
    ledger.clock = START + timedelta(days=7)
    ledger.make(RAW)
    ledger.make(clean, RAW)
    ledger.make(Subject.of(model), clean)
    (_, made) = (record.statement.issued for record in ledger.entries[2:])
    assert wrong(run(model, ledger, quarantine_delay="7d")) == {}
    # The model is dated before the delay was over; it uses no source itself.
    ledger.edit(3, issued=made - timedelta(minutes=4))
    assert wrong(run(model, ledger, quarantine_delay="7d")) == {}


def test_the_remainder_of_fresh_data_waits_like_the_data(now, model):
    ledger = Ledger(clock=LATER - timedelta(days=7))
    ledger.make(RAW)
    verdict = ledger.judge(RAW, Verdict.QUARANTINE, stage="scan")
    ledger.set_aside(RAW, Subject.of(model), verdict=verdict.digest)
    assert wrong(run(model, ledger, quarantine_delay="7d")) == {}
    assert wrong(run(model, ledger, quarantine_delay="8d")) == {"delay": UNKNOWN}


def test_waiting_after_the_use_does_not_help(now, model):
    assert wrong(run(model, trained(model), quarantine_delay="7d")) == {"delay": FAILED}


def test_a_backdated_statement_does_not_shorten_the_delay(now, model):
    ledger = Ledger(clock=START + timedelta(days=9))
    ledger.judge(subject("something"), stage="scan")
    ledger.make(RAW, issued=START)
    ledger.clock = START + timedelta(days=10)
    ledger.make(Subject.of(model), RAW)
    assert wrong(run(model, ledger, quarantine_delay="7d")) == {"delay": FAILED}


def test_new_data_waits_and_is_told_until_when(now, model, tmp_path):
    listed = checksums(model, tmp_path)
    report = run(model, Ledger(), published=listed, sources=(), quarantine_delay="7d")
    assert wrong(report) == {"delay": UNKNOWN}
    check = next(check for check in report.checks if check.id == "provenance.delay")
    assert f"{LATER + timedelta(days=7):%Y-%m-%d}" in check.reason
    ledger = Ledger(clock=LATER - timedelta(days=7))
    ledger.judge(Subject.of(model), Verdict.INCONCLUSIVE)
    assert wrong(run(model, ledger, published=listed, sources=(), quarantine_delay="7d")) == {}
    assert wrong(run(model, ledger, published=listed, sources=(), quarantine_delay="8d")) == {
        "delay": UNKNOWN
    }


# Publishers


def checksums(model, folder, *, only=None, wrong=()) -> str:
    lines = []
    for file in model.manifest.files:
        if only is None or file.path in only:
            value = hashlib.sha256(b"x").hexdigest() if file.path in wrong else file.sha256.hex
            lines.append(f"{value}  {file.path}\n")
    path = folder / "SHA256SUMS"
    path.write_text("".join(lines))
    return str(path)


def test_a_publisher_admits_data_that_nobody_here_made(now, model, tmp_path):
    report = run(model, Ledger(), published=checksums(model, tmp_path), sources=())
    assert wrong(report) == {}
    assert outcomes(report)["published"] is PASSED


def test_a_publisher_s_word_is_good_for_allowed_places_only(now, model, tmp_path):
    listed = checksums(model, tmp_path)
    folder = f"{model.uri.local.parent}/*"
    assert wrong(run(model, Ledger(), published=listed, sources=(folder,))) == {}
    assert wrong(run(model, Ledger(), published=listed)) == {"sources": FAILED}


@pytest.mark.parametrize(
    "how", [{"only": ["a.bin"]}, {"wrong": ["b.json"]}], ids=["unlisted", "changed"]
)
def test_what_the_publisher_does_not_vouch_for_is_not_admitted(now, model, tmp_path, how):
    report = run(model, Ledger(), published=checksums(model, tmp_path, **how), sources=())
    assert wrong(report) == {
        "published": FAILED,
        "origin": FAILED,
        "missing": FAILED,
        "sources": UNKNOWN,
    }


def test_a_file_that_the_publisher_lists_and_is_not_there(now, model, tmp_path):
    path = checksums(model, tmp_path)
    with open(path, "a") as out:
        out.write(f"{digest('more').hex}  c.bin\n")
    assert outcomes(run(model, Ledger(), published=path))["published"] is FAILED


def test_a_sound_chain_does_not_make_up_for_a_publisher_who_disagrees(now, model, tmp_path):
    path = checksums(model, tmp_path, wrong=["a.bin"])
    assert wrong(run(model, trained(model), published=path)) == {"published": FAILED}


def test_a_list_must_be_signed_if_there_is_a_key(now, model, tmp_path, scene):
    path = checksums(model, tmp_path)
    key = str(scene.folder / "keys/gates.pub.pem")
    with pytest.raises(ConfigurationError, match="carries no signature"):
        run(model, Ledger(), published=path, published_key=key)
    signature = tmp_path / "SHA256SUMS.sig"
    content = (tmp_path / "SHA256SUMS").read_bytes()
    signature.write_bytes(base64.b64encode(scene.signer.sign(content)))
    options = {
        "published": path,
        "published_key": key,
        "published_signature": str(signature),
        "sources": (),
    }
    assert wrong(run(model, Ledger(), **options)) == {}
    signature.write_bytes(base64.b64encode(scene.other_key("mallory").sign(content)))
    assert outcomes(run(model, Ledger(), **options))["published"] is FAILED


def test_the_list_and_its_signature_may_lie_in_the_data(now, model, tmp_path):
    checksums(model, model.uri.local)
    again = take_snapshot(model.uri)
    path = str(model.uri.local / "SHA256SUMS")
    assert wrong(run(again, Ledger(), published=path, sources=())) == {}


def test_copies_of_the_list_under_other_names_are_files_like_others(now, model, tmp_path):
    folder = model.uri.local
    path = checksums(model, folder)
    content = (folder / "SHA256SUMS").read_bytes()
    (folder / "sitecustomize.py").write_bytes(content)
    (folder / "deep").mkdir()
    (folder / "deep" / "SHA256SUMS").write_bytes(content)
    report = run(take_snapshot(model.uri), Ledger(), published=path, sources=())
    check = next(one for one in report.checks if one.id == "provenance.published")
    assert check.outcome is FAILED
    assert check.findings[0].files == ("deep/SHA256SUMS", "sitecustomize.py")


def test_a_list_that_nobody_signed_is_not_parsed(scene, monkeypatch):
    content, mine = b"{}", scene.other_key("mallory")
    key = (scene.folder / "keys/gates.pub.pem").read_bytes()

    def parsed(*_: object) -> None:
        pytest.fail("the list was parsed before its signature was verified")

    for name in ("parse_json", "read_croissant", "read_checksums"):
        monkeypatch.setattr(publisher, name, parsed)
    forged = base64.b64encode(mine.sign(content))
    with pytest.raises(ReceiptError):
        publisher.read_published(content, key=key, signature=forged, name="x")
    sound = base64.b64encode(scene.signer.sign(content))
    with pytest.raises(pytest.fail.Exception):
        publisher.read_published(content, key=key, signature=sound, name="x")


def test_a_hold_outweighs_a_publisher(now, model, tmp_path):
    ledger = Ledger()
    ledger.tell(Subject.of(model), HELD)
    report = run(model, ledger, published=checksums(model, tmp_path), sources=())
    assert wrong(report) == {"hold": FAILED}


# Options


@pytest.mark.parametrize(
    "options",
    [
        {"quarantine_delay": "a week"},
        {"quarantine_delay": "-7d"},
        {"max_age": "0d"},
        {"max_depth": 0},
        {"require_depth": -1},
        {"published_key": "x.pem"},
        {"published": "x", "published_signature": "y"},
        {"sources": ("",)},
        {"sources": ("gates*",)},
    ],
)
def test_options_that_make_no_sense_are_refused(now, model, options):
    with pytest.raises(ConfigurationError):
        run(model, trained(model), files={"published_key": b""}, **options)


def test_the_configuration_binds_what_the_publisher_says(tmp_path):
    path = tmp_path / "list"
    digests = set()
    for content in (b"one", b"two"):
        path.write_bytes(content)
        stage = VerifyProvenance(published=str(path))
        digests.add(Digest.of_json(configuration(stage, configuration_files(stage))))
    assert len(digests) == 2
    assert "sources" in {field.name for field in stage_fields(VerifyProvenance)}


# A real scene

POLICY = """\
version: 1
purposes:
  deploy:
    stages:
      - verify-provenance: {sources: ["file://*/data.parquet"], require: [train]}
keys:
  - name: gates
    file: keys/gates.pub.pem
    stages: [flag-negatives, verify-provenance]
  - name: trainer
    file: keys/trainer.pub.pem
    stages: [production]
    subjects: ["file://*/data.parquet", "file://*/model.bin"]
"""


@pytest.fixture
def project(scene):
    """Return a scene with data, a model trained on it, and the key that said so."""
    trainer = scene.other_key("trainer")
    scene.write_policy(POLICY)
    data = scene.write_data([1, 2, 3])
    produce(scene, trainer, data)
    (scene.folder / "model.bin").write_bytes(b"weights")
    produce(scene, trainer, scene.folder / "model.bin", data, activity="train")
    return scene


def produce(scene, signer: FileSigner, path, *sources, activity="import"):
    now = datetime.now(UTC).replace(microsecond=0)
    statement = ProductionStatement(
        subject=Subject.of(take_snapshot(SubjectUri.parse(path))),
        activity=activity,
        made_from=tuple(Subject.of(take_snapshot(SubjectUri.parse(one))) for one in sources),
        cleared_by=(),
        record=digest("record"),
        started=now,
        issued=now,
        run=RUN,
        invocation=hashlib.sha256(f"{path}{len(sources)}".encode()).hexdigest()[:16],
    )
    return attest(statement, open_evidence(load_policy(scene.policy), write=True), signer)


def gate(scene):
    stage = VerifyProvenance(sources=("file://*/data.parquet",), require=("train",))
    return run_gate(stage, scene.folder / "model.bin", scene.policy, signer=scene.signer)


def test_a_model_passes_the_gate_and_is_opened_for_deployment(project):
    outcome = gate(project)
    assert outcome.verdict is Verdict.ALLOW
    page = outcome.report_path.read_text()
    assert "<svg" in page
    assert "http://" not in page
    cleared = open_cleared(outcome.clear_or_raise(), purpose="deploy", policy=project.policy)
    with cleared.open() as content:
        assert content.read() == b"weights"


def test_a_swapped_model_is_blocked_by_the_gate(project):
    (project.folder / "model.bin").write_bytes(b"backdoor")
    outcome = gate(project)
    assert outcome.verdict is Verdict.BLOCK
    assert any("provenance.swapped" in reason for reason in outcome.judgement.reasons)


def test_a_model_trained_on_swapped_data_is_blocked(project, scene):
    scene.write_data([1, 2, 666])
    (project.folder / "model.bin").write_bytes(b"weights 2")
    signer = FileSigner.load(project.folder / "trainer.key.pem")
    produce(project, signer, project.folder / "model.bin", project.data, activity="train")
    outcome = gate(project)
    assert outcome.verdict is Verdict.BLOCK
    assert any("provenance.swapped" in reason for reason in outcome.judgement.reasons)


def test_a_statement_by_the_wrong_key_is_named_and_does_not_count(project):
    (project.folder / "model.bin").write_bytes(b"weights 2")
    produce(project, project.signer, project.folder / "model.bin", project.data)
    outcome = gate(project)
    assert outcome.verdict is Verdict.BLOCK
    assert outcome.statement.checks["provenance.keys"] is FAILED
    with pytest.raises(ClearanceRefused):
        open_cleared(project.folder / "model.bin", purpose="deploy", policy=project.policy)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("stages: [production]", "stages: [production]\n    revoked_at: 1"),
        ("stages: [production]", "stages: [production]\n    not_after: 2020-01-01"),
        (', "file://*/model.bin"]', "]"),
    ],
    ids=["revoked", "expired", "subject"],
)
def test_a_key_that_may_not_speak_for_the_model_breaks_the_chain(project, old, new):
    assert gate(project).verdict is Verdict.ALLOW
    assert old in POLICY
    project.write_policy(POLICY.replace(old, new))
    outcome = gate(project)
    assert outcome.verdict is Verdict.BLOCK
    assert outcome.statement.checks["provenance.keys"] is FAILED


def test_a_receipt_that_was_moved_to_other_data_does_not_count(project):
    """An older, valid receipt is logged again after the model was changed."""
    evidence = open_evidence(load_policy(project.policy), write=True)
    older = dict(evidence.receipts())
    (project.folder / "model.bin").write_bytes(b"backdoor")
    for bundle in older.values():
        evidence.log(bundle)
    assert gate(project).verdict is Verdict.BLOCK


LAUNDERING = """\
version: 1
purposes:
  deploy:
    stages:
      - verify-provenance: {sources: ["*"], require: [train]}
  train:
    stages:
      - verify-provenance: {sources: ["*"], published: SHA256SUMS}
keys:
  - {name: gates, file: keys/gates.pub.pem, stages: ["*"]}
"""


@pytest.mark.parametrize("honest", [False, True])
def test_a_list_that_no_purpose_names_admits_no_data(scene, honest):
    """Whoever may run gates could otherwise vouch for any data, in place of the publisher."""
    data = scene.write_data([1, 2, 3])
    line = f"{hashlib.sha256(data.read_bytes()).hexdigest()}  {data.name}\n"
    (scene.folder / "MINE").write_text(line)
    (scene.folder / "SHA256SUMS").write_text(line if honest else f"{'0' * 64}  {data.name}\n")
    scene.write_policy(LAUNDERING)
    deploy, train = (
        load_policy(scene.policy).purpose(name).requirements[0].stage
        for name in ("deploy", "train")
    )
    own = VerifyProvenance(sources=("*",), published=str(scene.folder / "MINE"))
    stage = train if honest else own
    assert run_gate(stage, data, scene.policy, signer=scene.signer).verdict is Verdict.ALLOW
    (scene.folder / "model.bin").write_bytes(b"weights")
    produce(scene, scene.signer, scene.folder / "model.bin", data, activity="train")
    outcome = run_gate(deploy, scene.folder / "model.bin", scene.policy, signer=scene.signer)
    assert outcome.verdict is (Verdict.ALLOW if honest else Verdict.BLOCK)


QUARANTINING = """\
version: 1
purposes:
  train:
    stages:
      - verify-provenance: {sources: ["*"]}
keys:
  - {name: gates, file: keys/gates.pub.pem, stages: ["*"]}
  - {name: q, file: keys/q.pub.pem, stages: [MAY]}
"""


@pytest.mark.parametrize(
    ("may", "by", "allowed"),
    [
        ("quarantine", "junk", False),
        ("quarantine", "q", False),
        ("quarantine", "gates", False),
        ("quarantine, flag-negatives", "q", True),
    ],
)
def test_a_key_for_quarantine_alone_makes_nothing_of_its_own(scene, may, by, allowed):
    q = scene.other_key("q")
    scene.write_policy(QUARANTINING.replace("MAY", may))
    policy, raw, rest = load_policy(scene.policy), scene.write_data([1]), scene.folder / "rest"
    rest.write_bytes(b"anything")
    produce(scene, scene.signer, raw)
    parent, remainder = (Subject.of(take_snapshot(SubjectUri.parse(one))) for one in (raw, rest))
    evidence, world = open_evidence(policy, write=True), Ledger(clock=datetime.now(UTC))
    world.judge(parent, Verdict.QUARANTINE, stage="flag-negatives")
    verdict = replace(world.entries[0].statement, policy=policy.digest)
    signer = scene.signer if by == "gates" else q
    logged = evidence.log(b"junk") if by == "junk" else attest(verdict, evidence, signer)
    world.set_aside(parent, remainder, verdict=logged.digest)
    attest(replace(world.entries[1].statement, issued=datetime.now(UTC)), evidence, q)
    stage = policy.purpose("train").requirements[0].stage
    outcome = run_gate(stage, rest, scene.policy, signer=scene.signer)
    assert outcome.verdict is (Verdict.ALLOW if allowed else Verdict.BLOCK)
    if not allowed:
        assert outcome.statement.checks["provenance.keys"] is FAILED


def test_replaced_clocks_do_not_reach_the_walk(model):
    """Without a stopped clock the stage reads the real one: nothing here is too old."""
    assert wrong(run(model, replace(trained(model)), max_age="9999w")) == {}


PUBLISHED = """\
version: 1
purposes:
  train:
    stages:
      - verify-provenance: {published: SHA256SUMS}
keys:
  - {name: gates, file: keys/gates.pub.pem, stages: ["*"]}
"""


def test_what_a_publisher_vouches_for_passes_again_and_after_an_import(scene):
    data = scene.write_data([1, 2, 3])
    line = f"{hashlib.sha256(data.read_bytes()).hexdigest()}  {data.name}\n"
    (scene.folder / "SHA256SUMS").write_text(line)
    scene.write_policy(PUBLISHED)
    stage = load_policy(scene.policy).purpose("train").requirements[0].stage
    for _ in range(2):
        assert run_gate(stage, data, scene.policy, signer=scene.signer).verdict is Verdict.ALLOW
    produce(scene, scene.signer, data)
    assert run_gate(stage, data, scene.policy, signer=scene.signer).verdict is Verdict.ALLOW
    model = scene.folder / "model.bin"
    model.write_bytes(b"weights")
    produce(scene, scene.signer, model, data, activity="train")
    outcome = run_gate(stage, model, scene.policy, signer=scene.signer)
    assert outcome.verdict is not Verdict.ALLOW  # nobody vouches for the model


def test_a_block_by_options_of_ones_own_is_no_word_about_the_data(scene):
    data, model = scene.write_data([1, 2, 3]), scene.folder / "model.bin"
    scene.write_policy(PUBLISHED.replace("{published: SHA256SUMS}", '{sources: ["*"]}'))
    produce(scene, scene.signer, data)
    own = VerifyProvenance(sources=("nowhere/*",))
    assert run_gate(own, data, scene.policy, signer=scene.signer).verdict is Verdict.BLOCK
    model.write_bytes(b"weights")
    produce(scene, scene.signer, model, data, activity="train")
    stage = load_policy(scene.policy).purpose("train").requirements[0].stage
    assert run_gate(stage, model, scene.policy, signer=scene.signer).verdict is Verdict.ALLOW
