"""InspectFiles: honest files pass, hostile ones do not, and what cannot be told is unknown."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import os
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from sluicegate.errors import ConfigurationError, SubjectChangedError
from sluicegate.model import Check, Outcome, Report, Severity
from sluicegate.stages.base import Context, Stage, configuration, stage_fields
from sluicegate.stages.files import InspectFiles
from sluicegate.stages.files.checks import CHECKS
from sluicegate.stages.files.child.nursery import Nursery
from sluicegate.stages.files.kinds import KINDS
from sluicegate.storage.snapshot import Snapshot, take_snapshot
from sluicegate.storage.uri import SubjectUri
from tests.core import hostile_files as make

FAILED, UNKNOWN, PASSED = Outcome.FAILED, Outcome.UNKNOWN, Outcome.PASSED
CSV = make.CSV.encode()
ALL = ("tables", "text", "images", "recordings", "arrays", "containers", "active", "documents")


def snapshot_of(folder: Path, files: dict[str, bytes]) -> Snapshot:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return take_snapshot(SubjectUri.parse(str(folder)))


def inspect(folder: Path, files: dict[str, bytes], **options: Any) -> Report:
    return InspectFiles(**options).run(snapshot_of(folder, files), Context())


def told(report: Report) -> dict[str, Outcome]:
    """Return what did not pass, by check."""
    rank = [UNKNOWN, FAILED]
    found: dict[str, Outcome] = {}
    for check in report.checks:
        if check.outcome is not PASSED:
            found[check.id] = max(found.get(check.id, UNKNOWN), check.outcome, key=rank.index)
    return found


def text_of(report: Report) -> str:
    return json.dumps(report.to_json())


def of(report: Report, id: str) -> Check:
    return next(check for check in report.checks if check.id == id)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_honest_files_of_every_type_pass(folder: Path) -> None:
    files = make.honest()
    report = inspect(folder, files)
    assert told(report) == {}
    assert {check.id for check in report.checks} == set(CHECKS)
    rows = {row["path"]: row for row in report.tables["files"]}
    assert set(rows) == set(files)
    assert all(row["complete"] for row in rows.values())
    assert rows["dense.csv.gz"]["expanded"] == 9_200_009
    assert rows["a.tar.gz"]["depth"] == 2
    assert all(row["real"] in KINDS | {"empty"} for row in rows.values())


def test_honest_documents_pass_where_they_are_allowed(folder: Path) -> None:
    assert told(inspect(folder, make.DOCUMENTS, types=("documents",))) == {}


def test_documents_are_not_data_by_default(folder: Path) -> None:
    report = inspect(folder, make.DOCUMENTS)
    assert told(report) == {"files.type_allowed": FAILED}
    named = {file for one in of(report, "files.type_allowed").findings for file in one.files}
    assert named == set(make.DOCUMENTS)


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def linked(kind: bytes, target: str) -> bytes:
    return make.tar_of({"a": b""}, type=kind, linkname=target)


def zip_with_mode(mode: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("a.csv")
        info.create_system = 3
        info.external_attr = mode << 16
        archive.writestr(info, "a\n1\n")
    return out.getvalue()


def twice(name: str, other: str) -> bytes:
    out = io.BytesIO()
    with (
        zipfile.ZipFile(out, "w") as archive,
        pytest.warns() if name == other else contextlib.nullcontext(),
    ):
        archive.writestr(name, "a\n1\n")
        archive.writestr(other, "a\n2\n")
    return out.getvalue()


def with_gap(data: bytes, hidden: bytes) -> bytes:
    """Put bytes between the entries of a zip and its directory, and say where that is now."""
    at = data.find(b"PK\1\2")
    moved = struct.pack("<IH", at + len(hidden), 0)
    return data[:at] + hidden + data[at:-6] + moved


ZIP = make.zip_of({"a.csv": CSV})
PNG = make.picture("PNG")
GIF = make.animation()
EXE = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + bytes(100)

HOSTILE: dict[str, tuple[str, bytes, str]] = {
    # what it is, against what it is called
    "a program called csv": ("a.csv", b"\x7fELF" + bytes(100), "files.executable_content"),
    "a program for Windows": ("a.png", EXE, "files.executable_content"),
    "a script": ("a.txt", b"#!/bin/sh\nrm\n", "files.executable_content"),
    "a script by its name": ("a.py", b"print(1)\n", "files.executable_content"),
    "a double ending": ("report.csv.exe", CSV, "files.executable_content"),
    "Java objects": ("a.ser", b"\xac\xed\x00\x05sr", "files.executable_content"),
    "R data": ("a.rds", gzip.compress(b"X\n\0\0\0\x03" + bytes(9)), "files.executable_content"),
    "HTML called csv": ("a.csv", b"<html><p>x</html>", "files.type_matches"),
    "Parquet called csv": ("a.csv", make.honest()["a.parquet"], "files.type_matches"),
    "a picture of another type": ("a.jpg", PNG, "files.type_matches"),
    "an image that is none": ("a.png", CSV, "files.type_matches"),
    "Latin-1": ("a.csv", "größe\n1\n".encode("latin-1"), "files.type_matches"),
    "unknown bytes": ("a.bin", bytes(range(256)), "files.type_allowed"),
    # pickles
    "a pickle": ("a.pkl", make.pickled(), "files.executable_content"),
    "a pickle called csv": ("a.csv", make.pickled(), "files.executable_content"),
    "an old pickle as text": ("a.txt", b"cos\nsystem\n(S'x'\ntR.", "files.executable_content"),
    "a packed pickle": ("a.joblib", zlib.compress(make.pickled()), "files.executable_content"),
    "a pickle in a zip": (
        "a.pt",
        make.zip_of({"m/data.pkl": make.pickled(), "m/data/0": b"\1"}),
        "files.executable_content",
    ),
    "a pickle in a tar": (
        "a.tar.gz",
        gzip.compress(make.tar_of({"a.csv": make.pickled()})),
        "files.executable_content",
    ),
    "an array of objects": (
        "a.npy",
        make.numpy_file(np.array([{}], dtype=object)),
        "files.executable_content",
    ),
    "objects in npz": (
        "a.npz",
        make.zip_of({"x.npy": make.numpy_file(np.array([{}], dtype=object))}),
        "files.executable_content",
    ),
    # documents that run
    "macros": ("a.docm", make.docx(**{"word/vbaProject.bin": b"\1"}), "files.executable_content"),
    "a template from elsewhere": (
        "a.docx",
        make.docx(
            **{
                "word/_rels/settings.xml.rels": b'<Relationship Type="x/attachedTemplate" '
                b'Target="http://x" TargetMode="External"/>'
            }
        ),
        "files.executable_content",
    ),
    "macros in an old document": (
        "a.xls",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "_VBA_PROJECT".encode("utf-16-le"),
        "files.executable_content",
    ),
    "a PDF with a script": (
        "a.pdf",
        make.pdf(b"/OpenAction << /S /JavaScript /JS (1) >>"),
        "files.executable_content",
    ),
    "SVG with a script": (
        "a.svg",
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>',
        "files.executable_content",
    ),
    "SVG with a handler": ("a.svg", b'<svg onload="x()"/>', "files.executable_content"),
    # polyglots
    "bytes in front of a zip": ("a.zip", b"PK\3\4" + bytes(40) + ZIP, "files.polyglot"),
    "bytes behind a zip": ("a.zip", ZIP + b"more", "files.polyglot"),
    "a zip behind a PNG": ("a.png", PNG + ZIP, "files.polyglot"),
    "a zip behind a GIF": ("a.gif", GIF + ZIP, "files.polyglot"),
    "text behind a GIF": ("a.gif", GIF + b"=1;alert(1)", "files.polyglot"),
    "GIF and JavaScript": (
        "a.gif",
        b"GIF89a/*\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0!\xfe\x07*/=1;//\0;",
        "files.polyglot",
    ),
    "a PDF in a picture": (
        "a.jpg",
        make.picture("JPEG", comment=b"%PDF-1.4 ") + b"trailer startxref %%EOF",
        "files.polyglot",
    ),
    "markup in a comment": (
        "a.jpg",
        make.picture("JPEG", comment=b"<script>x</script>"),
        "files.polyglot",
    ),
    "bytes behind gzip": ("a.csv.gz", gzip.compress(CSV) + b"more", "files.polyglot"),
    "bytes behind bzip2": ("a.csv.bz2", bz2.compress(CSV) + b"more", "files.polyglot"),
    "bytes behind a tar": ("a.tar", make.tar_of({"a.csv": CSV}) + b"more" * 128, "files.polyglot"),
    "bytes behind a PDF": ("a.pdf", make.pdf() + b"<html>", "files.polyglot"),
    "a zip behind Arrow": ("a.arrow", make.honest()["a.arrow"] + ZIP, "files.polyglot"),
    "bytes between entries": (
        "a.zip",
        with_gap(ZIP, b"hidden bytes in between"),
        "files.polyglot",
    ),
    # paths
    "a path outside": ("a.zip", make.zip_of({"../a.csv": CSV}), "files.paths"),
    "an absolute path": ("a.tar", make.tar_of({"/a.csv": CSV}), "files.paths"),
    "a drive": ("a.zip", make.zip_of({"C:a.csv": CSV}), "files.paths"),
    "a backslash": ("a.zip", make.zip_of({"x\\..\\a.csv": CSV}), "files.paths"),
    "a device's name": ("a.zip", make.zip_of({"x/aux.csv": CSV}), "files.paths"),
    "turned text": ("a.zip", make.zip_of({"a\u202evsc.csv": CSV}), "files.paths"),
    "a NUL": (
        "a.zip",
        make.zip_of({"aXb.csv": CSV}).replace(b"aXb.csv", b"a\0b.csv"),
        "files.paths",
    ),
    "the same name twice": ("a.zip", twice("a.csv", "a.csv"), "files.paths"),
    "twins by case": ("a.zip", twice("a.csv", "A.CSV"), "files.paths"),
    "twins by normal form": ("a.zip", twice("é.csv", "e\u0301.csv"), "files.paths"),
    "a file inside a file": ("a.zip", twice("a.csv", "a.csv/b.csv"), "files.paths"),
    "a link in a zip": ("a.zip", zip_with_mode(0o120777), "files.paths"),
    "a device in a zip": ("a.zip", zip_with_mode(0o060777), "files.paths"),
    "a link in a tar": ("a.tar", linked(tarfile.SYMTYPE, "/etc/passwd"), "files.paths"),
    "a hard link": ("a.tar", linked(tarfile.LNKTYPE, "b"), "files.paths"),
    "a device in a tar": ("a.tar", linked(tarfile.CHRTYPE, ""), "files.paths"),
    # expansion and nesting
    "a gzip bomb": ("a.csv.gz", gzip.compress(bytes(80 << 20)), "files.expansion"),
    "a bomb of bombs": (
        "a.gz",
        gzip.compress(gzip.compress(bytes(80 << 20))),
        "files.expansion",
    ),
    "entries that overlap": ("a.zip", make.overlapping_zip(), "files.expansion"),
    "an entry that lies about its size": (
        "a.zip",
        make.zip_of({"a.txt": b"\n" * (80 << 20)}).replace(
            struct.pack("<I", 80 << 20), struct.pack("<I", 10)
        ),
        "files.expansion",
    ),
    "entities": (
        "a.xml",
        b'<!DOCTYPE a [<!ENTITY b "x"><!ENTITY c "&b;&b;">]><a>&c;</a>',
        "files.expansion",
    ),
    "an external entity": (
        "a.xml",
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        "files.expansion",
    ),
    "a large picture": ("a.png", make.png_header(50_000, 50_000), "files.expansion"),
    "a zip of zips": ("a.zip", make.nested_zips(1), "files.nesting"),
    "too deep": (
        "a.csv.gz.gz.gz.gz",
        gzip.compress(gzip.compress(gzip.compress(gzip.compress(CSV)))),
        "files.nesting",
    ),
    "deep JSON": ("a.json", b"[" * 20_000 + b"]" * 20_000, "files.nesting"),
    "deep JSON lines": ("a.jsonl", b"{}\n" + b'{"a":' * 200 + b"1" + b"}" * 200, "files.nesting"),
    "deep XML": ("a.xml", b"<a>" * 300 + b"</a>" * 300, "files.nesting"),
    # structure
    "a ragged table": ("a.csv", b"a,b\n1,2\n1,2,3\n", "files.structure"),
    "a quote that never closes": ("a.csv", b'a,b\n1,"2\n3,4\n', "files.structure"),
    "an empty table": ("a.csv", b"", "files.structure"),
    "broken JSON": ("a.json", b'{"a": [}', "files.structure"),
    "no JSON": ("a.json", b'{"a": __import__}', "files.structure"),
    "JSON that ends too early": ("a.json", b'{"a": "', "files.structure"),
    "control characters": ("a.txt", b"text \x01\x02\x03" * 10, "files.structure"),
    "a NUL in text": ("a.csv", b"a,b\n" * 300_000 + b"\0", "files.structure"),
    "bad UTF-8 far behind": ("a.csv", b"a,b\n" * 300_000 + b"\xff", "files.structure"),
    "a checksum": (
        "a.zip",
        ZIP.replace(struct.pack("<I", zlib.crc32(CSV)), b"\1\2\3\4"),
        "files.structure",
    ),
    "two names for one entry": ("a.zip", patched(ZIP, 30, b"b.csv"), "files.structure"),
    "Parquet that is cut off": ("a.parquet", make.honest()["a.parquet"][:-9], "files.structure"),
    "a PNG with a wrong checksum": ("a.png", patched(PNG, 30, b"zz"), "files.structure"),
    "an array that is too short": ("a.npy", make.honest()["a.npy"][:-8], "files.structure"),
    "tensors with a gap": (
        "a.safetensors",
        make.safetensors().replace(b"[24, 32]", b"[23, 31]"),
        "files.structure",
    ),
    "an archive that is cut off": ("a.tar", make.tar_of({"a.csv": CSV})[:600], "files.structure"),
    "gzip that is cut off": ("a.csv.gz", gzip.compress(CSV)[:-4], "files.structure"),
    "pixels that are missing": ("a.bmp", make.picture("BMP")[:-200], "files.structure"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_fail(case: str, folder: Path) -> None:
    name, data, check = HOSTILE[case]
    report = inspect(folder, {name: data, "good.csv": CSV}, types=ALL)
    assert told(report).get(check) is FAILED, told(report)
    assert {file for one in of(report, check).findings for file in one.files} == {name}


def test_encrypted_and_closed_files_are_unknown(folder: Path) -> None:
    files = {
        "a.zip": make.encrypted_zip(),
        "b.7z": b"7z\xbc\xaf\x27\x1c" + bytes(40),
        "c.rar": b"Rar!\x1a\x07\x01\x00" + bytes(40),
        "d.age": b"age-encryption.org/v1\n-> X25519 x\n",
        "e.pdf": make.pdf(b"/Encrypt 5 0 R "),
        "f.parquet": b"PARE" + bytes(30) + b"PARE",
        "g.gpg": bytes(range(128, 256)),
    }
    report = inspect(folder, files, types=(*ALL, "opaque"))
    assert told(report) == {"files.readable": UNKNOWN, "files.type_matches": FAILED}
    unknown = {check.target for check in report.checks if check.outcome is UNKNOWN}
    assert unknown == set(files)
    assert of(report, "files.type_matches").findings[0].files == ("f.parquet",)


def test_what_is_not_measured_is_unknown(folder: Path) -> None:
    head = b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0\x04\0\x10\0\0\0\0\0"
    body = bytes(8) + b"\xff" * 8 + struct.pack("<Q", 100) + bytes(100)
    report = inspect(folder, {"a.h5": (head + body)[:100]}, types=("hdf5",))
    assert told(report) == {"files.expansion": UNKNOWN}
    assert told(inspect(folder, {"a.h5": (head + body)[:99]}, types=("hdf5",))) == {
        "files.structure": FAILED
    }


def test_an_unknown_is_not_hidden_by_a_failure(folder: Path) -> None:
    files = {"a.zip": make.encrypted_zip(), "b.csv": b"a,b\n1\n", "c.zip": make.encrypted_zip()}
    outcomes = [check.outcome for check in inspect(folder, files).checks]
    assert outcomes.count(UNKNOWN) == 2
    assert outcomes.count(FAILED) == 1


def test_severities_tell_attacks_from_useless_files(folder: Path) -> None:
    report = inspect(folder, {"a.csv": CSV})
    critical = {check.id for check in report.checks if check.severity is Severity.CRITICAL}
    assert critical == {
        "files.count",
        "files.total_size",
        "files.executable_content",
        "files.polyglot",
        "files.paths",
        "files.expansion",
        "files.nesting",
    }


TWO = {"a.csv": CSV, "b.csv": CSV}
TAR_GZ = gzip.compress(make.tar_of({"a.csv": CSV}))
TEN_GROUPS = make.sink(
    lambda out: parquet.write_table(pa.table({"a": range(10)}), out, row_group_size=1)
)
PARQUET = make.honest()["a.parquet"]
LONG_RECORD = b'a\n"' + b"x\n" * (3 << 19) + b'x"\n'
LIMITS: dict[str, tuple[dict[str, Any], dict[str, bytes], str]] = {
    "files": ({"max_files": 1}, TWO, "files.count"),
    "size": ({"max_file_bytes": len(CSV) - 1}, {"a.csv": CSV}, "files.size"),
    "total": ({"max_total_bytes": 2 * len(CSV) - 1}, TWO, "files.total_size"),
    "entries": ({"max_entries": 1}, {"a.zip": make.zip_of(TWO)}, "files.count"),
    "depth": ({"max_depth": 1}, {"a.tar.gz": TAR_GZ}, "files.nesting"),
    "line": ({"max_line_bytes": 20}, {"a.txt": b"a\n" + b"x" * 21 + b"\n"}, "files.lines"),
    "record": ({"max_line_bytes": 2_500_000}, {"a.csv": LONG_RECORD}, "files.lines"),
    "json": ({"max_json_depth": 2}, {"a.json": b"[[[]]]"}, "files.nesting"),
    "columns": ({"max_columns": 2}, {"a.csv": CSV}, "files.structure"),
    "columns of Parquet": ({"max_columns": 4}, {"a.parquet": PARQUET}, "files.structure"),
    "row groups": ({"max_row_groups": 9}, {"a.parquet": TEN_GROUPS}, "files.structure"),
    "pixels": ({"max_pixels": 1199}, {"a.png": PNG}, "files.expansion"),
    "expanded": (
        {"max_expanded_bytes": len(CSV) - 1},
        {"a.csv.gz": gzip.compress(CSV)},
        "files.expansion",
    ),
    "decoded": ({"max_expanded_bytes": 60_000}, {"a.parquet": PARQUET}, "files.expansion"),
}


@pytest.mark.parametrize("case", LIMITS)
def test_limits_hold_and_not_one_less(case: str, folder: Path) -> None:
    options, files, check = LIMITS[case]
    assert told(inspect(folder, files, **options)).get(check) is FAILED
    ((name, value),) = options.items()
    higher = {name: value + (1 if value < 50_000 else max(20_000, value))}
    assert told(inspect(folder, files, **higher)) == {}


def test_too_many_files_leave_the_rest_unknown(folder: Path) -> None:
    report = inspect(folder, {"a.csv": CSV, "b.csv": CSV}, max_files=1)
    assert not [check.id for check in report.checks if check.outcome is PASSED]


def test_nested_archives_by_option(folder: Path) -> None:
    files = {
        "a.zip": make.zip_of({"b.zip": ZIP}),
        "c.zip": make.zip_of({"d.tar": make.tar_of({"a.csv": CSV})}),
    }
    assert told(inspect(folder, files)) == {"files.nesting": FAILED}
    assert told(inspect(folder, files, nested_archives=True)) == {}


def test_honest_text_that_looks_like_something_else(folder: Path) -> None:
    files = {
        "a.txt": b"<unk> <s> tokens\n",
        "b.csv": b"<pad>,1\n<b>,2\n",
        "c.txt": b"BM is a word, and so is MZ\n",
        "d.csv": b"MZ,BM\n" + b"1,2\n" * 50,
        "e.txt": b"(this) is no pickle.",
        "f.csv": b"ID3,GGUF\n1,2\n",
        "g.txt": b"#! a heading\n# another\n",
        "h.csv": b'text\n"<script>alert(1)</script>"\n',
        "i.txt": b"cats\nand\ndogs.\n",
        "j.xml": b"<p>one</p>",
        "k.csv": "name\n‫שלום‬\n".encode(),
    }
    assert told(inspect(folder, files)) == {}


def test_a_large_table_that_compresses_well_passes(folder: Path) -> None:
    rows = b"".join(b"%d,%d,%s\n" % (i, i * 7919 % 97, b"same words" * 100) for i in range(1000))
    text = b"id,key,words\n" + rows * 70
    data = gzip.compress(text, 1)
    assert len(text) > 65 << 20
    assert 50 < len(text) / len(data) < 200
    assert told(inspect(folder, {"a.csv.gz": data})) == {}


def test_a_reader_that_dies_is_replaced() -> None:
    with Nursery(memory=1 << 28) as nursery, tempfile.TemporaryFile() as file:
        file.write(make.honest()["a.parquet"])
        numbers = {"allowed": 1 << 30, "columns": 99, "row_groups": 99, "pixels": 9, "kind": ""}

        def ask(seconds: float = 20.0) -> Any:
            file.seek(0)
            return nursery.ask("parquet", file.fileno(), seconds=seconds, **numbers)

        assert ask()["facts"]["rows"] == 1000
        first = nursery.pid
        assert first is not None
        os.kill(first, signal.SIGSEGV)
        assert ask() == {"crashed": signal.SIGSEGV}
        assert ask()["facts"]["rows"] == 1000
        second = nursery.pid
        assert second not in (None, first)
        os.kill(second, signal.SIGSTOP)
        assert ask(seconds=0.3) == {"late": True}
        assert nursery.pid is None
        assert ask()["facts"]["rows"] == 1000


def test_memory_of_a_reader_is_limited(folder: Path) -> None:
    """A single value larger than the memory: no batch can be small enough for it."""
    table = pa.table({"a": pa.array(["x" * (120 << 20)])})
    data = make.sink(
        lambda out: parquet.write_table(table, out, use_dictionary=False, compression="zstd")
    )
    assert len(data) < 1 << 20
    report = inspect(folder, {"a.parquet": data}, max_memory_bytes=64 << 20)
    assert told(report) == {"files.expansion": FAILED}


def test_a_crashing_reader_is_an_answer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = Nursery.ask, []

    def ask(self: Nursery, task: str, *files: int, **numbers: Any) -> Any:
        asked.append(task)
        return {"crashed": 11} if len(asked) == 1 else real(self, task, *files, **numbers)

    monkeypatch.setattr(Nursery, "ask", ask)
    report = inspect(folder, {f"{i}.parquet": PARQUET for i in range(3)})
    assert told(report) == {"files.structure": FAILED}
    assert of(report, "files.structure").findings[0].files == ("0.parquet",)


@pytest.mark.parametrize(
    "answer",
    [
        {"late": True},
        {"crashed": int(signal.SIGXCPU)},
        {"crashed": -1},
        {"missing": "Pillow"},
        {"unreadable": "an encoding"},
        {},
    ],
)
def test_no_answer_is_unknown(
    answer: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Nursery, "ask", lambda *_, **__: answer)
    assert told(inspect(folder, {"a.png": PNG})) == {"files.readable": UNKNOWN}


def test_time_is_limited(folder: Path) -> None:
    report = inspect(folder, {"a.csv": CSV}, max_seconds=1e-9)
    assert told(report) == {"files.readable": UNKNOWN}


def test_options_are_checked(folder: Path) -> None:
    for options in (
        {"types": ("tables", "nothing")},
        {"types": ("tables", "elf")},
        {"types": ("executables",)},
        {"types": ()},
        {"max_ratio": 0},
        {"max_seconds": -1.0},
    ):
        with pytest.raises(ConfigurationError, match="inspect-files"):
            inspect(folder, {"a.csv": CSV}, **options)


def test_a_harmless_pickle_passes_where_pickles_are_allowed(folder: Path) -> None:
    import pickle

    files = {"a.pkl": pickle.dumps({"a": [1, 2.5, "x" * 2000], "b": (None, True)})}
    assert told(inspect(folder, files, types=("pickle",))) == {}
    assert told(inspect(folder, files)) == {"files.type_allowed": FAILED}
    files = {"a.pkl": pickle.dumps([1]) + b"more"}
    assert told(inspect(folder, files, types=("pickle",))) == {"files.polyglot": FAILED}


def test_the_report_names_callables_and_no_values(folder: Path) -> None:
    report = inspect(folder, {"a.pkl": make.pickled(), "b.csv": b"secret,b\nhunter2\n"})
    text = text_of(report)
    assert "builtins.print" in text
    assert "hunter2" not in text
    assert "secret" not in text


def test_the_report_is_the_same_each_time(folder: Path) -> None:
    files = {"a.parquet": make.honest()["a.parquet"], "b.zip": ZIP, "c.pkl": make.pickled()}
    assert text_of(inspect(folder, files)) == text_of(inspect(folder, files))


def test_it_is_a_stage() -> None:
    stage = InspectFiles()
    assert isinstance(stage, Stage)
    assert {field.name for field in stage_fields(stage)} >= {"types", "max_ratio"}
    assert configuration(stage, {})["stage"] == "inspect-files"


def test_building_a_stage_imports_nothing_heavy() -> None:
    code = (
        "import sys; from sluicegate.stages.files import InspectFiles; InspectFiles(); "
        "print([m for m in ('pyarrow','PIL','numpy','pandas','polars') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_swapped_bytes_are_noticed(folder: Path) -> None:
    snapshot = snapshot_of(folder, {"a.csv": CSV})
    (folder / "a.csv").write_bytes(CSV.replace(b"1", b"2"))
    with pytest.raises(SubjectChangedError):
        InspectFiles().run(snapshot, Context())


CHANCES = {
    "a.csv": b"col1,col2\n0.1,0.2\n0.3,0.4\n",  # the opcodes of an import, POP and STOP
    "b.csv": b"cost\n12\n.5\n",
    "c.txt": b"class\nname\n.\n",
    "d.csv": b"x^2,x^3\n1,2\n",  # the first bytes of a zlib stream
    "e.csv": b"PARENT_ID,child\n1,2\n",  # of an encrypted Parquet
    "f.csv": "ORCID,name\n0000,José\n".encode(),
    "g.csv": "ID3,Größe\n1,2\n".encode(),
    "h.csv": b"dex\n7\n",
    "README": b"[![a badge](x.svg)](y)\n",
}


def test_text_that_begins_like_another_type_by_chance_passes(folder: Path) -> None:
    assert told(inspect(folder, CHANCES)) == {}


@pytest.mark.parametrize("name", ["model", "model.bin"])
def test_an_old_pickle_behind_many_opcodes_is_one(folder: Path, name: str) -> None:
    data = b"N0" * 6000 + b"cos\nsystem\n(S'x'\ntR."
    assert told(inspect(folder, {name: data}))["files.executable_content"] is FAILED


def npy_of(descr: str, data: bytes, shape: str = "1,") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': ({shape}), }}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + data


@pytest.mark.parametrize(
    "descr",
    [
        "'|O'",
        '"|O"',
        "'object'",
        "'O,i4'",
        "'i4,O'",
        "'\\x4f'",
        "'|' 'O'",
        "'i4,(1)O'",
        "[('a', '<i4'), ('b', \"O\")]",
        "[('a', [('b', 'object')])]",
        "dtype('O')",
        "{'O': 1}",
    ],
)
def test_an_array_of_objects_is_refused_however_it_is_spelt(folder: Path, descr: str) -> None:
    found = told(inspect(folder, {"a.npy": npy_of(descr, make.pickled())}))
    assert {"files.executable_content", "files.structure"} & set(found)
    assert FAILED in found.values()


def test_records_of_numpy_pass_and_must_fill_the_file(folder: Path) -> None:
    kinds = [("O", "<f8"), ("it's", "<i4", (2, 2)), ("n", [("x", "S3"), ("y", "M8[D]")])]
    sink = io.BytesIO()
    np.save(sink, np.zeros(3, np.dtype(kinds, align=True)))
    assert told(inspect(folder, {"a.npy": sink.getvalue()})) == {}
    assert told(inspect(folder, {"a.npy": sink.getvalue() + b"0" * 300}))


def test_impossible_shapes_cost_neither_time_nor_memory(folder: Path) -> None:
    shapes = ['1000000000,"' + "a" * 10**6 + '"', ",".join(["9" * 4000] * 800), "[0],1000000000"]
    for shape in shapes:
        head = f'{{"w":{{"dtype":"F64","shape":[{shape}],"data_offsets":[0,0]}}}}'.encode()
        data = struct.pack("<Q", len(head)) + head
        assert told(inspect(folder, {"a.safetensors": data})) == {"files.structure": FAILED}
        (folder / "a.safetensors").unlink()
    many = ",".join(["9" * 19] * 3000)
    assert told(inspect(folder, {"a.npy": npy_of("'<f8'", b"", many)})) == {
        "files.structure": FAILED
    }


def test_small_fields_without_end_are_no_model(folder: Path) -> None:
    started = time.process_time()
    inspect(folder, {"a.bin": b"\x08\x00" * 3_000_000})
    assert time.process_time() - started < 3


def arrow_of(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as out:
        out.write_table(table)
    return sink.getvalue()


def test_views_and_extension_types_are_counted(folder: Path) -> None:
    views = pa.array(["a", None, "b" * 100], pa.string_view())
    codes = pa.array([0, 1, 0], pa.int32())
    columns = {
        "v": views,
        "d": pa.DictionaryArray.from_arrays(codes, views),
        "u": pa.array([b"0" * 16] * 3, pa.uuid()),
        "j": pa.array(["{}"] * 3, pa.json_()),
    }
    assert told(inspect(folder, {"a.arrow": arrow_of(pa.table(columns))})) == {}


def test_views_that_share_their_bytes_are_a_bomb(folder: Path) -> None:
    text, count = b"x" * 1_000_000, 20_000
    view = struct.pack("<i4sii", len(text), b"xxxx", 0, 0)
    buffers = [None, pa.py_buffer(view * count), pa.py_buffer(text)]
    array = pa.Array.from_buffers(pa.string_view(), count, buffers)
    data = arrow_of(pa.table({"a": array}), compression="zstd")
    assert told(inspect(folder, {"a.arrow": data})) == {"files.expansion": FAILED}


OFFICE = {"[Content_Types].xml": b"<Types/>"}
EXTERNAL = (
    b'<r:Relationship TargetMode="Ex&#116;ernal" Target="http://x" Type="x/attachedTemplate"/>'
)
HIDDEN_IN_DOCUMENTS = {
    "escaped names": ("a.pdf", b"%PDF-1.4\n<</S/J#61vaScript/J#53(x)>>\n%%EOF", FAILED),
    "a script of a rendition": (
        "a.pdf",
        b"%PDF-1.4\n<</S/Rendition/JS % a\n 7 0 R>>\n%%EOF",
        FAILED,
    ),
    "objects behind a megabyte": (
        "a.pdf",
        b"%PDF-1.5\n"
        + b"%pad\n" * 500_000
        + b"<</Type/ObjStm>>\n"
        + b"%pad\n" * 500_000
        + b"%%EOF",
        UNKNOWN,
    ),
    "relationships in another order": (
        "a.docx",
        make.zip_of(OFFICE | {"word/_rels/settings.xml.rels": EXTERNAL}),
        FAILED,
    ),
    "relationships in UTF-16": (
        "a.docx",
        make.zip_of(OFFICE | {"word/_rels/a.rels": EXTERNAL.decode().encode("utf-16")}),
        FAILED,
    ),
    "a field that starts a program": (
        "a.docx",
        make.zip_of(OFFICE | {"word/document.xml": b"<w:instrText> DDEAUTO c:\\cmd</w:instrText>"}),
        FAILED,
    ),
    "a link that starts a program": (
        "a.xlsx",
        make.zip_of(OFFICE | {"xl/externalLinks/a.xml": b"<ddeLink ddeService='cmd'/>"}),
        FAILED,
    ),
}


@pytest.mark.parametrize("name", HIDDEN_IN_DOCUMENTS)
def test_what_runs_is_found_however_it_is_written(folder: Path, name: str) -> None:
    file, data, outcome = HIDDEN_IN_DOCUMENTS[name]
    found = told(inspect(folder, {file: data}, types=("documents", "text")))
    assert found["files.executable_content"] is outcome


def test_pictures_in_a_pdf_may_hold_any_letters(folder: Path) -> None:
    data = b"%PDF-1.4\n<</Length 9>>stream\n\x80/JS\x01/JS 9\n endstream\n%%EOF"
    assert told(inspect(folder, {"a.pdf": data}, types=("documents",))) == {}


@pytest.mark.parametrize("at", [14, 18, 22])
def test_what_stands_in_front_of_an_entry_must_agree(folder: Path, at: int) -> None:
    data = bytearray(make.zip_of({"a.csv": CSV}))
    struct.pack_into("<I", data, at, 4)
    assert told(inspect(folder, {"a.zip": bytes(data)})) == {"files.structure": FAILED}
