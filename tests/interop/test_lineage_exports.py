"""Exports, judged by the tools that they are for: in-toto, OpenLineage, Graphviz's grammar."""

from __future__ import annotations

import argparse
import base64
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from in_toto import exceptions, verifylib
from in_toto.models.metadata import Metadata
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent
from openlineage.client.facet_v2 import dataset_version_dataset, job_type_job
from openlineage.client.generated.base import EventType
from openlineage.client.serde import Serde
from securesystemslib.signer import SSlibKey

from sluicegate.cli.provenance import add_provenance
from sluicegate.receipts.keys import FileSigner, new_key_pair
from sluicegate.receipts.lineage import Chain, History, trace
from sluicegate.receipts.statement import Subject
from sluicegate.reports.in_toto_layout import LAYOUT_FILE, in_toto_files, in_toto_key
from sluicegate.reports.openlineage import openlineage_events
from sluicegate.stages.registry import BUILT_IN
from tests.histories import Ledger, diamond, subject

RAW, CLEAN, MODEL = subject("raw [v?]*"), subject("clean"), subject("model")


def chain(ledger: Ledger, start: Subject) -> Chain:
    return trace(start, History(ledger), admitting={}, max_depth=100)


def pipeline(*, model: Subject = MODEL, trained_on: Subject = CLEAN) -> Chain:
    ledger = Ledger()
    ledger.make(RAW)
    ledger.make(CLEAN, RAW)
    ledger.make(model, trained_on, RAW, activity="train")
    return chain(ledger, model)


@pytest.fixture
def signer(tmp_path) -> FileSigner:
    return new_key_pair(tmp_path / "f.key.pem", tmp_path / "f.pub.pem")


def export(chain: Chain, signer: FileSigner, folder: Path, *, days: int = 1) -> Path:
    folder.mkdir()
    expires = datetime.now(UTC) + timedelta(days=days)
    for name, content in in_toto_files(chain, signer, expires=expires).items():
        (folder / name).write_bytes(content)
    return folder


def verify(folder: Path, signer: FileSigner, *, layout: Path | None = None) -> None:
    """Verify as ``in-toto-verify --layout … --link-dir … --verification-keys …`` does."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = SSlibKey.from_crypto(load_pem_public_key(signer.public_key.pem))
    verifylib.in_toto_verify(
        Metadata.load(str((layout or folder) / LAYOUT_FILE)),
        {key.keyid: {"keyid": key.keyid, **key.to_dict()}},
        link_dir_path=str(folder),
    )


def edit_link(folder: Path, step: str, signer: FileSigner, change) -> None:
    """Change a link and sign it again, as a functionary who lies would."""
    from sluicegate.receipts.bundle import pre_authentication_encoding

    (path,) = folder.glob(f"{step}.*.link")
    envelope = json.loads(path.read_bytes())
    link = json.loads(base64.b64decode(envelope["payload"]))
    change(link)
    payload = json.dumps(link).encode()
    envelope["payload"] = base64.b64encode(payload).decode()
    signature = signer.sign(pre_authentication_encoding(payload))
    envelope["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    path.write_text(json.dumps(envelope))


# in-toto


def test_key_ids_are_those_of_securesystemslib(signer):
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    theirs = SSlibKey.from_crypto(load_pem_public_key(signer.public_key.pem))
    key_id, value = in_toto_key(signer.public_key)
    assert key_id == theirs.keyid
    assert value == {"keyid": theirs.keyid, **theirs.to_dict()}


def test_in_toto_accepts_the_chain(signer, tmp_path):
    verify(export(pipeline(), signer, tmp_path / "out"), signer)


def test_in_toto_accepts_a_diamond_with_a_quarantine(signer, tmp_path):
    ledger, model = diamond()
    folder = export(chain(ledger, model), signer, tmp_path / "out")
    assert len(list(folder.iterdir())) == 6
    verify(folder, signer)


def test_in_toto_refuses_data_that_was_swapped_between_stages(signer, tmp_path):
    swapped = pipeline(trained_on=subject("clean", "poisoned"))
    assert swapped.problems
    folder = export(swapped, signer, tmp_path / "out")
    with pytest.raises(exceptions.RuleVerificationError):
        verify(folder, signer)


@pytest.mark.parametrize("field", ["sha256", "dir_hash"])
def test_in_toto_compares_every_digest(signer, tmp_path, field):
    value = subject("x").sha256 if field == "sha256" else subject("x").dir_hash
    folder = export(pipeline(trained_on=replace(CLEAN, **{field: value})), signer, tmp_path / "out")
    with pytest.raises(exceptions.RuleVerificationError):
        verify(folder, signer)


def test_the_layout_of_one_run_judges_the_links_of_the_next(signer, tmp_path):
    layout = export(pipeline(), signer, tmp_path / "first")
    again = pipeline(model=subject("model", "2"))
    verify(export(again, signer, tmp_path / "second"), signer, layout=layout)
    swapped = pipeline(trained_on=subject("clean", "poisoned"))
    folder = export(swapped, signer, tmp_path / "third")
    for path in layout.glob("transform-clean.*"):  # the honest link of the stage before
        (folder / path.name).write_bytes(path.read_bytes())
    with pytest.raises(exceptions.RuleVerificationError):
        verify(folder, signer, layout=layout)


def test_a_link_that_hides_its_materials_is_refused(signer, tmp_path):
    """``MATCH`` alone would pass: there is nothing to match."""
    folder = export(pipeline(), signer, tmp_path / "out")
    edit_link(folder, "train-model", signer, lambda link: link["materials"].clear())
    with pytest.raises(exceptions.RuleVerificationError):
        verify(folder, signer)


@pytest.mark.parametrize("part", ["materials", "products"])
def test_a_link_with_one_more_material_or_product_is_refused(signer, tmp_path, part):
    extra = {"s3/lake/extra": {"sha256": "0" * 64}}
    folder = export(pipeline(), signer, tmp_path / "out")
    edit_link(folder, "train-model", signer, lambda link: link[part].update(extra))
    with pytest.raises(exceptions.RuleVerificationError):
        verify(folder, signer)


def test_links_by_another_key_are_not_counted(signer, tmp_path):
    folder = export(pipeline(), signer, tmp_path / "out")
    mallory = new_key_pair(tmp_path / "m.key.pem", tmp_path / "m.pub.pem")
    edit_link(folder, "train-model", mallory, lambda link: None)
    with pytest.raises(exceptions.ThresholdVerificationError):
        verify(folder, signer)


def test_a_layout_expires(signer, tmp_path):
    folder = export(pipeline(), signer, tmp_path / "out", days=-1)
    with pytest.raises(exceptions.LayoutExpiredError):
        verify(folder, signer)


def test_two_subjects_of_one_name_are_two_steps(signer, tmp_path):
    ledger = Ledger()
    one, two = subject("data", "1", uri="s3://a/data"), subject("data", "2", uri="s3://b/data")
    ledger.make(one)
    ledger.make(two)
    ledger.make(MODEL, one, two)
    folder = export(chain(ledger, MODEL), signer, tmp_path / "out")
    assert len(list(folder.glob("import-data*.link"))) == 2
    verify(folder, signer)


# OpenLineage


def rebuilt(event: dict) -> dict:
    """Build the event again with the client's own classes, which check what they are given."""
    receipt = event["run"]["facets"]["sluicegate_receipt"]
    job = event["job"]["facets"]["jobType"]

    def dataset(kind, value):
        facet = dataset_version_dataset.DatasetVersionDatasetFacet(
            datasetVersion=value["facets"]["version"]["datasetVersion"],
            producer=value["facets"]["version"]["_producer"],
        )
        own = value["facets"]["sluicegate_digests"]
        return kind(value["namespace"], value["name"], facets={"version": facet}), own

    inputs = [dataset(InputDataset, value) for value in event["inputs"]]
    outputs = [dataset(OutputDataset, value) for value in event["outputs"]]
    built = RunEvent(
        eventType=EventType(event["eventType"]),
        eventTime=event["eventTime"],
        producer=event["producer"],
        run=Run(runId=event["run"]["runId"], facets={}),
        job=Job(
            event["job"]["namespace"],
            event["job"]["name"],
            {
                "jobType": job_type_job.JobTypeJobFacet(
                    processingType=job["processingType"],
                    integration=job["integration"],
                    jobType=job["jobType"],
                    producer=job["_producer"],
                )
            },
        ),
        inputs=[value for value, _ in inputs],
        outputs=[value for value, _ in outputs],
    )
    value = Serde.to_dict(built)
    value["run"].setdefault("facets", {})["sluicegate_receipt"] = receipt
    for part, group in (("inputs", inputs), ("outputs", outputs)):
        value.setdefault(part, [])
        for one, (_, own) in zip(value[part], group, strict=True):
            one["facets"]["sluicegate_digests"] = own
            assert not one.pop("inputFacets", None)
            assert not one.pop("outputFacets", None)
    return value


def unversioned(event: dict) -> dict:
    """Leave out which edition of a schema it is: the client's releases raise it."""
    return json.loads(re.sub(r"/\d+-\d+-\d+/", "/", json.dumps(event)))


def test_events_are_what_the_client_would_write():
    events = openlineage_events(pipeline(), namespace="prod")
    assert [event["eventType"] for event in events] == ["START", "COMPLETE"] * 3
    for event in events:
        assert unversioned(rebuilt(event)) == unversioned(event)


def test_custom_facets_say_who_made_them_and_where_the_schema_is():
    for event in openlineage_events(pipeline(), namespace="prod"):
        facets = [event["run"]["facets"]["sluicegate_receipt"]]
        facets += [
            one["facets"]["sluicegate_digests"] for one in event["inputs"] + event["outputs"]
        ]
        assert all({"_producer", "_schemaURL"} <= facet.keys() for facet in facets)


def test_runs_are_told_apart_by_receipt_and_datasets_by_place():
    first, again = (openlineage_events(pipeline(), namespace="prod") for _ in range(2))
    assert first == again
    assert len({UUID(event["run"]["runId"]) for event in first}) == 3
    assert first[-1]["inputs"][0]["namespace"] == "s3://lake"
    assert first[-1]["inputs"][0]["name"] == "clean"
    local = subject("x", uri="file:///data/x")
    ledger = Ledger()
    ledger.make(local)
    (event, _) = openlineage_events(chain(ledger, local), namespace="prod")
    assert (event["outputs"][0]["namespace"], event["outputs"][0]["name"]) == ("file", "/data/x")


# A real chain, real files, the real command

POLICY = """\
version: 1
purposes:
  deploy:
    stages: [{verify-provenance: {sources: [gates]}}]
keys:
  - {name: gates, file: keys/gates.pub.pem, stages: ["*"]}
"""


@pytest.fixture
def captured(scene, monkeypatch):
    """Return a scene in which data was imported, cleaned and trained on."""
    monkeypatch.setitem(
        BUILT_IN, "verify-provenance", "sluicegate.stages.provenance:VerifyProvenance"
    )
    scene.write_policy(POLICY)
    monkeypatch.setenv("SLUICEGATE_POLICY", str(scene.policy))
    monkeypatch.chdir(scene.folder)
    for name, *sources in (("raw.csv",), ("clean.csv", "raw.csv"), ("model.bin", "clean.csv")):
        (scene.folder / name).write_text(f"content of {name}\n")
        provenance("capture", name, *(["--from", *sources] if sources else []))
    return scene


def provenance(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_provenance(parser.add_subparsers(dest="command"))
    args = parser.parse_args(["provenance", *arguments])
    return int(args.run(args))


def in_toto_verify(folder: str) -> int:
    command = [
        str(Path(sys.executable).parent / "in-toto-verify"),
        *("--layout", f"{folder}/{LAYOUT_FILE}", "--link-dir", folder),
        *("--verification-keys", "keys/gates.pub.pem"),
    ]
    return subprocess.run(command, capture_output=True, timeout=60).returncode


def test_the_command_accepts_a_real_chain_and_refuses_a_swap(captured):
    assert provenance("export", "model.bin", "--format", "in-toto", "--out", "good") == 0
    assert in_toto_verify("good") == 0
    (captured.folder / "clean.csv").write_text("poisoned\n")
    (captured.folder / "model.bin").write_text("trained on poison\n")
    assert provenance("capture", "model.bin", "--from", "clean.csv") == 0
    assert provenance("export", "model.bin", "--format", "in-toto", "--out", "bad") == 1
    assert in_toto_verify("bad") == 1
    train = next(Path("bad").glob("transform-model.bin.*.link"))
    shutil.copy(train, "good")  # the lying stage's link among the honest ones
    assert in_toto_verify("good") == 1
