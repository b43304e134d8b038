"""``sluicegate provenance``: capture, verify, graph, export, summary and mark, on real files."""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import xml.etree.ElementTree as ET

import pytest

from sluicegate.cli.provenance import add_provenance
from sluicegate.cli.terminal import report_failure
from sluicegate.errors import Decision, SluicegateError
from sluicegate.evidence import Evidence
from sluicegate.gate import run_gate
from sluicegate.policy.load import load_policy
from sluicegate.receipts.bundle import Bundle
from sluicegate.receipts.statement import SummaryStatement, parse_statement
from sluicegate.signing import open_evidence
from sluicegate.stages.provenance import VerifyProvenance
from sluicegate.stages.registry import BUILT_IN

BUILT_IN.setdefault("verify-provenance", "sluicegate.stages.provenance:VerifyProvenance")
POLICY = """\
version: 1
purposes:
  deploy:
    stages:
      - verify-provenance: {sources: ["file://*/raw*"], require: [train]}
keys:
  - name: gates
    file: keys/gates.pub.pem
    stages: ["*"]
"""


@pytest.fixture
def project(scene, monkeypatch):
    """Return a scene with raw data and a model, and nothing said of them yet."""
    scene.write_policy(POLICY)
    monkeypatch.setenv("SLUICEGATE_POLICY", str(scene.policy))
    monkeypatch.chdir(scene.folder)
    (scene.folder / "raw").mkdir()
    (scene.folder / "raw/a.csv").write_text("value\n1\n")
    (scene.folder / "raw/b.csv").write_text("value\n2\n")
    (scene.folder / "clean.csv").write_text("value\n1\n2\n")
    (scene.folder / "model.bin").write_bytes(b"weights")
    return scene


def provenance(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    add_provenance(parser.add_subparsers(dest="command"))
    args = parser.parse_args(["provenance", *map(str, arguments)])
    try:
        return int(args.run(args))
    except (Decision, SluicegateError) as error:
        return report_failure(error, as_json=getattr(args, "json", False))


def capture_all() -> None:
    assert provenance("capture", "raw") == 0
    assert provenance("capture", "clean.csv", "--from", "raw") == 0
    assert provenance("capture", "model.bin", "--from", "clean.csv", "--activity", "train") == 0


def statement_of(scene, output: str):
    value = json.loads(output)
    evidence = open_evidence(load_policy(scene.policy))
    bundle = Bundle.parse(evidence.ledger.get(value["ledger_index"]))
    return parse_statement(bundle.verify(lambda _: scene.signer.public_key))


# capture and verify


def test_a_chain_is_captured_and_verified_step_by_step(project, capsys):
    capture_all()
    capsys.readouterr()
    assert provenance("verify", "model.bin") == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("✓ ") for line in lines)
    assert [int(line.split()[1].rstrip(".")) for line in lines] == [1, 2, 3, *[4] * 6, 5, 8]


def test_verify_prints_one_json_value(project, capsys):
    capture_all()
    capsys.readouterr()
    assert provenance("verify", "model.bin", "--purpose", "deploy", "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert value["outcome"] == "passed"
    assert [row["subject"].rpartition("/")[2] for row in value["tables"]["links"]] == [
        "model.bin",
        "clean.csv",
        "raw",
    ]


def test_what_was_swapped_is_refused_with_both_digests(project, capsys):
    capture_all()
    (project.folder / "model.bin").write_bytes(b"backdoor")
    capsys.readouterr()
    assert provenance("verify", "model.bin") == 1
    out = capsys.readouterr().out
    assert "✗ 4. Is every input the very bytes that an earlier link made?" in out
    assert "ledger entry 2" in out


def test_a_source_that_was_never_captured_is_refused(project, capsys):
    assert provenance("capture", "model.bin", "--from", "clean.csv", "--activity", "train") == 0
    assert provenance("verify", "model.bin") == 1


def test_what_cannot_be_concluded_has_its_own_exit_code(project, capsys):
    assert provenance("capture", "raw") == 0
    capsys.readouterr()
    assert provenance("verify", "raw", "--sources", "gates", "--quarantine-delay", "7d") == 2
    assert "? 7. " in capsys.readouterr().out


def test_a_damaged_ledger_is_no_pass(project, capsys):
    capture_all()
    for path in (project.evidence / "ledger").rglob("*"):
        if path.is_file() and path.stat().st_size:
            path.write_bytes(b"\xff" + path.read_bytes()[1:])
    assert provenance("verify", "model.bin") == 2


def test_options_and_purpose_exclude_each_other(project, capsys):
    assert provenance("verify", "raw", "--purpose", "deploy", "--sources", "x") == 2
    assert provenance("verify", "raw", "--purpose", "train") == 2


def test_a_source_may_be_named_by_its_digest(project, capsys):
    assert provenance("capture", "raw", "--json") == 0
    digest = json.loads(capsys.readouterr().out)["subject"]
    assert provenance("capture", "model.bin", "--from", digest, "--activity", "train") == 0
    assert provenance("verify", "model.bin") == 0
    assert provenance("capture", "clean.csv", "--from", f"sha256:{'0' * 64}") == 2
    assert provenance("capture", "clean.csv", "--from", "sha256:12") == 2


def test_a_key_that_may_not_say_so_is_refused_before_anything_is_signed(project, capsys):
    project.write_policy(POLICY.replace('["*"]', "[verify-provenance]"))
    assert provenance("capture", "raw") == 2
    assert list(Evidence(project.evidence).receipts()) == []


def test_an_unreadable_subject_is_no_pass(project, capsys):
    assert provenance("capture", "nothing") == 2
    assert provenance("verify", "nothing") == 2


# publishers


def checksums(folder, *names: str) -> str:
    lines = [
        f"{hashlib.sha256((folder / 'raw' / name).read_bytes()).hexdigest()}  {name}\n"
        for name in names
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))
    return "SHA256SUMS"


def test_data_from_outside_is_captured_on_its_publisher_s_word(project, capsys):
    listed = checksums(project.folder, "a.csv", "b.csv")
    assert provenance("capture", "raw", "--published", listed) == 0
    assert provenance("verify", "raw", "--published", listed, "--sources", "gates") == 0


@pytest.mark.parametrize("names", [["a.csv"], []])
def test_data_that_the_publisher_does_not_vouch_for_is_not_captured(project, capsys, names):
    listed = checksums(project.folder, *names)
    assert provenance("capture", "raw", "--published", listed) == 1
    assert list(Evidence(project.evidence).receipts()) == []


def test_a_changed_file_is_named(project, capsys):
    listed = checksums(project.folder, "a.csv", "b.csv")
    (project.folder / "raw/b.csv").write_text("value\n666\n")
    assert provenance("capture", "raw", "--published", listed) == 1
    assert "1 changed (such as 'b.csv')" in capsys.readouterr().err


def test_the_signature_of_the_list_is_verified(project, capsys):
    listed = checksums(project.folder, "a.csv", "b.csv")
    content = (project.folder / listed).read_bytes()
    options = ["--published", listed, "--published-key", "keys/gates.pub.pem"]
    assert provenance("capture", "raw", *options) == 2
    signature = project.folder / "sums.sig"
    options += ["--published-signature", signature]
    signature.write_bytes(base64.b64encode(project.signer.sign(content + b"\n")))
    assert provenance("capture", "raw", *options) == 1
    signature.write_bytes(base64.b64encode(project.signer.sign(content)))
    assert provenance("capture", "raw", *options) == 0


# mark and summary


def test_data_on_hold_stays_so_until_it_is_released(project, capsys):
    capture_all()
    assert provenance("mark", "raw", "held", "--reason", "under review") == 0
    assert provenance("verify", "model.bin") == 1
    assert provenance("mark", "raw", "released") == 0
    assert provenance("verify", "model.bin") == 0


def test_a_summary_is_signed_for_what_is_cleared_and_for_nothing_else(project, capsys):
    capture_all()
    assert provenance("summary", "model.bin", "--purpose", "deploy") == 1
    stage = VerifyProvenance(sources=("file://*/raw*",), require=("train",))
    run_gate(stage, "model.bin", project.policy, signer=project.signer)
    capsys.readouterr()
    assert provenance("summary", "model.bin", "--purpose", "deploy", "--json") == 0
    statement = statement_of(project, capsys.readouterr().out)
    assert isinstance(statement, SummaryStatement)
    assert statement.purpose == "deploy"
    assert len(statement.receipts) == 1
    (project.folder / "model.bin").write_bytes(b"other")
    assert provenance("summary", "model.bin", "--purpose", "deploy") == 1


# graph


@pytest.mark.parametrize("form", ["text", "dot", "mermaid", "html", "json"])
def test_the_graph_shows_every_link(project, capsys, form):
    capture_all()
    capsys.readouterr()
    assert provenance("graph", "model.bin", "--format", form) == 0
    out = capsys.readouterr().out
    for name in ("model.bin", "clean.csv", "raw"):
        assert name in out


def test_the_graph_of_a_broken_chain_shows_where_and_exits_with_1(project, capsys):
    capture_all()
    (project.folder / "model.bin").write_bytes(b"other")
    capsys.readouterr()
    assert provenance("graph", "model.bin") == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("✗ model.bin")
    assert "swapped" in captured.err


HOSTILE = '"];x[label=<b>] <script>alert(1)<\\n‮`--> end'


@pytest.fixture
def hostile(project, capsys):
    """Capture a folder whose name tries to leave every format."""
    (project.folder / HOSTILE).mkdir()
    (project.folder / HOSTILE / "a.csv").write_text("1\n")
    assert provenance("capture", HOSTILE) == 0
    capsys.readouterr()
    return HOSTILE


def drawn(capsys, name: str, form: str) -> str:
    assert provenance("graph", name, "--format", form) == 0
    return capsys.readouterr().out


def test_hostile_names_stay_words_in_html(hostile, capsys):
    page = drawn(capsys, hostile, "html")
    assert "<script" not in page
    assert "‮" not in page
    assert re.search(r"(src|href|url\()\s*=?\s*[\"']?https?:", page) is None
    svg = page[page.index("<svg") : page.index("</svg>") + 6]
    assert {element.tag for element in ET.fromstring(svg).iter()} <= {
        "svg",
        "title",
        "desc",
        "path",
        "g",
        "rect",
        "text",
    }


def test_hostile_names_stay_words_in_dot_and_mermaid_and_text(hostile, capsys):
    dot = drawn(capsys, hostile, "dot")
    labels = re.findall(r'label="((?:[^"\\]|\\.)*)"', dot)
    assert len(labels) == 1
    assert r"<\\n" in labels[0]  # the name's own backslash, which must not end a line
    assert dot.count("\n") == 4
    mermaid = drawn(capsys, hostile, "mermaid")
    (line,) = [line for line in mermaid.splitlines() if line.startswith("  n0")]
    assert re.fullmatch(r'  n0\["[^"<>`\[\]]*<br/>[^"<>`\[\]]*"\]:::source', line)
    text = drawn(capsys, hostile, "text")
    assert "‮" not in text
    assert text.count("\n") == 1


def test_the_graph_can_be_written_to_a_file_and_found_by_digest(project, capsys):
    capture_all()
    capsys.readouterr()
    assert provenance("graph", "model.bin", "--format", "json", "--out", "g.json") == 0
    value = json.loads((project.folder / "g.json").read_text())
    root = value["nodes"][0]["id"]
    assert provenance("graph", f"sha256:{root}", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out) == value


# export


@pytest.mark.parametrize("form", ["openlineage", "cyclonedx", "croissant", "prov"])
def test_every_document_can_be_exported(project, capsys, form):
    capture_all()
    capsys.readouterr()
    assert provenance("export", "model.bin", "--format", form) == 0
    assert json.loads(capsys.readouterr().out)
    assert provenance("export", "model.bin", "--format", form, "--out", "x.json") == 0
    assert json.loads((project.folder / "x.json").read_text())


def test_prov_relates_every_product_to_its_sources(project, capsys):
    capture_all()
    capsys.readouterr()
    assert provenance("export", "model.bin", "--format", "prov") == 0
    value = json.loads(capsys.readouterr().out)
    assert len(value["entity"]) == len(value["activity"]) == 3
    assert len(value["used"]) == len(value["wasDerivedFrom"]) == 2
    for relation in value["wasDerivedFrom"].values():
        assert relation["prov:usedEntity"] in value["entity"]
        assert relation["prov:activity"] in value["activity"]


def test_the_export_of_a_broken_chain_says_so(project, capsys):
    capture_all()
    (project.folder / "model.bin").write_bytes(b"other")
    assert provenance("export", "model.bin", "--format", "prov") == 1


def test_the_layout_goes_to_an_empty_folder_only(project, capsys):
    capture_all()
    assert provenance("export", "model.bin", "--format", "in-toto") == 2
    (project.folder / "out").mkdir()
    (project.folder / "out/something").write_text("")
    assert provenance("export", "model.bin", "--format", "in-toto", "--out", "out") == 2
    assert provenance("export", "model.bin", "--format", "in-toto", "--out", "new") == 0
    assert "not by those that signed the receipts" in capsys.readouterr().err
    assert len(list((project.folder / "new").iterdir())) == 4
