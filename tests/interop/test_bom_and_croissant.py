"""Exports judged by the published schema and by the libraries of their formats."""

from __future__ import annotations

import hashlib
import json
import logging
from datetime import UTC, date, datetime

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from sluicegate.canonical import Digest
from sluicegate.receipts.published import compare, read_croissant
from sluicegate.reports.croissant import croissant_dataset
from sluicegate.reports.cyclonedx import Artefact, Metric, ReceiptLink, cyclonedx_bom
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def digest(text):
    return Digest.of(text.encode())


def artefact(name, **kw):
    return Artefact(
        name=name,
        uri=f"s3://bucket/{name}",
        digest=digest(f"root {name}"),
        sha256=digest(f"bytes {name}"),
        **kw,
    )


MODEL = artefact(
    "classifier über alles",
    version="3.1",
    receipts=[
        ReceiptLink(digest=digest("r1"), stage="scan-model-file"),
        ReceiptLink(digest=digest("r2"), stage="built-from", url="https://host/r 2.json"),
    ],
)
TRAIN = artefact("train", receipts=[ReceiptLink(digest=digest("r3"), stage="validate-dataset")])
LABELS = artefact("labels")


def bill(**kw):
    arguments = {"datasets": [TRAIN, LABELS], "time": NOW} | kw
    return cyclonedx_bom(MODEL, **arguments)


def complaints(document):
    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(
        json.dumps(document), all_errors=True
    )
    return [str(error) for error in found or ()]


@pytest.mark.parametrize(
    "document",
    [
        bill(),
        bill(datasets=[]),
        bill(
            metrics=[Metric(name="accuracy", value=0.93, part="adults"), Metric(name="f", value=1)],
            task="classification",
            tool_version="0.1.0",
        ),
    ],
)
def test_a_bill_is_valid_cyclonedx(document):
    assert complaints(document) == []


def test_the_validator_does_find_errors():
    document = bill()
    document["components"][0]["hashes"][0]["content"] = "short"
    document["components"][0]["type"] = "spell"
    assert complaints(document)


def test_a_bill_is_read_by_the_library_and_says_what_it_should():
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import ComponentType

    document = bill()
    # The library models no model cards yet; the schema above judges those.
    assert document["metadata"]["component"].pop("modelCard")["modelParameters"] == {
        "datasets": [{"ref": TRAIN.ref}, {"ref": LABELS.ref}]
    }
    for component in document["components"]:
        assert component.pop("data")[0]["type"] == "dataset"
    read = Bom.from_json(data=document)
    model = read.metadata.component
    assert model.type is ComponentType.MACHINE_LEARNING_MODEL
    assert model.name == MODEL.name
    assert {item.content for item in model.hashes} == {MODEL.sha256.hex}
    attestations = {
        next(iter(item.hashes)).content: item.comment
        for item in model.external_references
        if item.type.value == "attestation"
    }
    assert attestations == {digest("r1").hex: "scan-model-file", digest("r2").hex: "built-from"}
    assert {item.name for item in read.components} == {"train", "labels"}
    by_ref = {
        item.ref.value: {d.ref.value for d in item.dependencies} for item in read.dependencies
    }
    assert by_ref[MODEL.ref] == {TRAIN.ref, LABELS.ref}


def test_a_bill_is_the_same_for_the_same_input_and_another_for_another():
    assert bill() == bill()
    others = [bill(datasets=[]), bill(time=datetime(2026, 6, 2, tzinfo=UTC)), bill(task="x")]
    assert len({document["serialNumber"] for document in [bill(), *others]}) == 4


def test_a_dataset_that_is_named_twice_is_listed_once():
    document = bill(datasets=[TRAIN, TRAIN])
    assert [item["name"] for item in document["components"]] == ["train"]
    assert complaints(document) == []


# -- Croissant ------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    for name, content in {
        "train.csv": b"a,b\n1,2\n",
        "sub/über alles.jsonl": b"{}\n",
        "sub/a+b#c?.bin": b"",
        "no_extension": b"x",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def described(data, **kw):
    files = take_snapshot(SubjectUri.parse(data)).manifest.files
    arguments = {"name": "digits", "published": date(2026, 6, 1), "version": "1.0.0"} | kw
    return croissant_dataset(files, **arguments)


def test_a_description_is_read_back_and_vouches_for_every_file(data):
    snapshot = take_snapshot(SubjectUri.parse(data))
    document = json.dumps(described(data)).encode()
    assert compare(snapshot, read_croissant(document)).vouched
    fetched = json.dumps(described(data, base_url="https://host/d/")).encode()
    assert compare(snapshot, read_croissant(fetched, base_url="https://host/d")).vouched
    (data / "train.csv").write_bytes(b"a,b\n1,3\n")
    after = take_snapshot(SubjectUri.parse(data))
    assert compare(after, read_croissant(document)).changed == ("train.csv",)


def test_a_description_states_digest_size_and_format(data):
    by_name = {item["name"]: item for item in described(data)["distribution"]}
    train = by_name["train.csv"]
    assert train["sha256"] == hashlib.sha256((data / "train.csv").read_bytes()).hexdigest()
    assert train["contentSize"] == "8 B"
    assert train["encodingFormat"] == "text/csv"
    assert by_name["no_extension"]["encodingFormat"] == "application/octet-stream"
    assert by_name["sub/über alles.jsonl"]["@id"] == "sub/%C3%BCber%20alles.jsonl"


@pytest.mark.parametrize("base_url", ["", "https://host/d"])
def test_the_reference_library_reads_a_description(data, base_url, caplog):
    mlcroissant = pytest.importorskip("mlcroissant")
    document = described(
        data,
        base_url=base_url,
        description="Hand-written digits",
        url="https://host/d",
        license="https://spdx.org/licenses/CC0-1.0",
    )
    path = data.parent / "croissant.json"
    path.write_text(json.dumps(document))
    with caplog.at_level(logging.WARNING):
        dataset = mlcroissant.Dataset(jsonld=path)
    assert not dataset.metadata.ctx.issues.errors
    assert not any("not standard" in message for message in caplog.messages)
    read = {item.name: item for item in dataset.metadata.distribution}
    files = take_snapshot(SubjectUri.parse(data)).manifest.files
    assert {name: item.sha256 for name, item in read.items()} == {
        file.path: file.sha256.hex for file in files
    }
    assert {name: item.content_size for name, item in read.items()} == {
        file.path: f"{file.size} B" for file in files
    }


def test_the_reference_library_does_find_errors(data):
    mlcroissant = pytest.importorskip("mlcroissant")
    document = described(data)
    del document["distribution"][0]["sha256"]
    with pytest.raises(mlcroissant.ValidationError):
        mlcroissant.Dataset(jsonld=document)


def test_we_read_what_the_reference_library_writes():
    mlcroissant = pytest.importorskip("mlcroissant")
    a = digest("a").hex
    metadata = mlcroissant.Metadata(
        name="digits",
        description="Hand-written digits",
        url="https://host/d",
        distribution=[
            mlcroissant.FileObject(
                id="train.csv",
                name="train.csv",
                content_url="https://host/d/sub/train.csv",
                content_size="12 B",
                encoding_formats=["text/csv"],
                sha256=a,
            ),
            mlcroissant.FileSet(
                id="all", name="all", includes=["*.csv"], encoding_formats=["text/csv"]
            ),
        ],
    )
    document = json.dumps(metadata.to_json(), default=str).encode()
    published = read_croissant(document, base_url="https://host/d")
    assert {path: file.sha256.hex for path, file in published.files.items()} == {"sub/train.csv": a}
    assert published.files["sub/train.csv"].size == 12
