"""Setting rows and files aside: both halves are the whole, and the whole stays as it is."""

from __future__ import annotations

import csv
import io

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.errors import SubjectChangedError, SubjectError
from sluicegate.model import RowId
from sluicegate.quarantine import set_aside
from sluicegate.storage.local import LocalStore
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.tables import read_table
from sluicegate.storage.uri import SubjectUri


@pytest.fixture
def whole(tmp_path):
    """Return the snapshot of a folder of three files with nine rows."""
    root = tmp_path / "data"
    for at, name in enumerate(("a.csv", "b.csv", "sub/c.csv")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"n\n" + b"".join(b"%d\n" % (3 * at + row) for row in range(3)))
    return snap(root)


@pytest.fixture
def area(tmp_path):
    """Return where quarantines go."""
    return SubjectUri.parse(tmp_path / "quarantine")


def snap(path):
    return take_snapshot(SubjectUri.parse(path))


def content(snapshot):
    found = {}
    for file in snapshot.manifest.files:
        with snapshot.open(file.path) as source:
            found[file.path] = source.read()
    return found


def test_rows_leave_and_everything_else_stays_byte_for_byte(whole, area):
    rows = [RowId("b.csv", 1), RowId("sub/c.csv", 0), RowId("sub/c.csv", 2)]
    split = set_aside(whole, rows=rows, files=(), area=area)
    assert content(split.remainder) == {
        "a.csv": b"n\n0\n1\n2\n",
        "b.csv": b"n\n3\n5\n",
        "sub/c.csv": b"n\n7\n",
    }
    assert content(split.set_aside) == {"b.csv": b"n\n4\n", "sub/c.csv": b"n\n6\n8\n"}
    assert (split.rows, split.files) == (3, 0)


def test_whole_files_leave(whole, area):
    split = set_aside(whole, rows=(), files=["sub/c.csv", "a.csv"], area=area)
    assert content(split.remainder) == {"b.csv": b"n\n3\n4\n5\n"}
    assert content(split.set_aside) == {
        "a.csv": b"n\n0\n1\n2\n",
        "sub/c.csv": b"n\n6\n7\n8\n",
    }
    assert (split.rows, split.files) == (0, 2)


def test_rows_and_files_can_leave_together_and_naming_twice_changes_nothing(whole, area):
    once = set_aside(whole, rows=[RowId("a.csv", 2)], files=["b.csv"], area=area)
    twice = set_aside(whole, rows=[RowId("a.csv", 2)] * 2, files=["b.csv"], area=area)
    assert content(once.remainder) == {"a.csv": b"n\n0\n1\n", "sub/c.csv": b"n\n6\n7\n8\n"}
    assert once.remainder.uri == twice.remainder.uri
    assert twice.rows == 1


def test_a_file_of_which_every_row_leaves_is_not_in_the_remainder(whole, area):
    rows = [RowId("a.csv", at) for at in range(3)]
    split = set_aside(whole, rows=rows, files=(), area=area)
    assert set(content(split.remainder)) == {"b.csv", "sub/c.csv"}
    assert content(split.set_aside) == {"a.csv": b"n\n0\n1\n2\n"}


@settings(deadline=None, max_examples=15)
@given(st.sets(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=8))
def test_no_row_is_lost_doubled_or_changed(tmp_path_factory, chosen):
    root = tmp_path_factory.mktemp("set")
    for at in range(3):
        with (root / f"{at}.csv").open("w", newline="") as out:
            csv.writer(out).writerows([["n", "t"], *([10 * at + row, "x\n"] for row in range(3))])
    rows = [RowId(f"{at}.csv", row) for at, row in chosen]
    area = SubjectUri.parse(tmp_path_factory.mktemp("area"))
    split = set_aside(snap(root), rows=rows, files=(), area=area)
    kept = set(read_table(split.remainder).frame["n"])
    aside = set(read_table(split.set_aside).frame["n"])
    assert aside == {10 * at + row for at, row in chosen}
    assert kept == {10 * at + row for at in range(3) for row in range(3)} - aside
    assert split.rows == len(chosen)


def test_the_whole_stays_as_it_is(whole, area):
    set_aside(whole, rows=[RowId("a.csv", 0)], files=["b.csv"], area=area)
    assert snap(whole.uri.local).digest == whole.digest


def test_doing_it_again_writes_the_same_bytes_to_the_same_place(whole, area):
    rows = [RowId("b.csv", 1), RowId("a.csv", 0)]
    first = set_aside(whole, rows=rows, files=(), area=area)
    again = set_aside(whole, rows=reversed(rows), files=(), area=area)
    assert (first.remainder.uri, first.remainder.digest) == (
        again.remainder.uri,
        again.remainder.digest,
    )
    assert first.set_aside.digest == again.set_aside.digest


def test_another_choice_or_another_whole_goes_to_another_place(whole, area, tmp_path):
    first = set_aside(whole, rows=[RowId("a.csv", 0)], files=(), area=area)
    other = set_aside(whole, rows=[RowId("a.csv", 1)], files=(), area=area)
    (tmp_path / "data" / "b.csv").write_bytes(b"n\n99\n")
    later = set_aside(snap(tmp_path / "data"), rows=[RowId("a.csv", 0)], files=(), area=area)
    assert len({str(split.remainder.uri) for split in (first, other, later)}) == 3
    assert content(first.remainder)["b.csv"] == b"n\n3\n4\n5\n"


def test_a_single_file_stays_a_subject_of_a_single_file(whole, area):
    single = snap(whole.uri.local / "a.csv")
    split = set_aside(single, rows=[RowId("a.csv", 1)], files=(), area=area)
    for half, left in ((split.remainder, b"n\n0\n2\n"), (split.set_aside, b"n\n1\n")):
        assert half.is_single_file
        assert half.uri.name == "a.csv"
        assert content(half) == {"a.csv": left}


def test_nothing_may_remain_of_nothing(whole, area):
    everything = [RowId(name, at) for name in ("a.csv", "b.csv", "sub/c.csv") for at in range(3)]
    with pytest.raises(SubjectError, match=r"nothing of .* would remain"):
        set_aside(whole, rows=everything, files=(), area=area)
    with pytest.raises(SubjectError, match=r"nothing of .* would remain"):
        set_aside(whole, rows=everything[:6], files=["sub/c.csv"], area=area)


def test_setting_nothing_aside_is_not_a_split(whole, area):
    with pytest.raises(SubjectError):
        set_aside(whole, rows=(), files=(), area=area)


@pytest.mark.parametrize(
    ("rows", "files", "why"),
    [
        ([RowId("a.csv", 3)], [], "has 3 rows"),
        ([RowId("a.csv", -1)], [], "has 3 rows"),
        ([RowId("missing.csv", 0)], [], "not in the manifest"),
        ([], ["../data/a.csv"], "not in the manifest"),
        ([], ["missing.csv"], "not in the manifest"),
    ],
)
def test_what_is_not_there_cannot_be_set_aside(whole, area, rows, files, why):
    with pytest.raises(SubjectError, match=why):
        set_aside(whole, rows=rows, files=files, area=area)


def test_rows_of_a_file_that_is_no_table_cannot_be_set_aside_but_the_file_can(tmp_path, area):
    root = tmp_path / "mixed"
    root.mkdir()
    (root / "a.csv").write_bytes(b"n\n1\n")
    (root / "model.bin").write_bytes(b"x")
    with pytest.raises(SubjectError, match="rows cannot be set aside"):
        set_aside(snap(root), rows=[RowId("model.bin", 0)], files=(), area=area)
    split = set_aside(snap(root), rows=(), files=["model.bin"], area=area)
    assert content(split.set_aside) == {"model.bin": b"x"}


def test_bytes_that_changed_after_the_snapshot_do_not_reach_the_remainder(whole, area):
    (whole.uri.local / "b.csv").write_bytes(b"n\n9\n4\n5\n")
    with pytest.raises(SubjectChangedError):
        set_aside(whole, rows=[RowId("a.csv", 0)], files=(), area=area)


def test_the_empty_marker_of_a_finished_job_stays_with_the_remainder(whole, area):
    (whole.uri.local / "_SUCCESS").write_bytes(b"")
    split = set_aside(snap(whole.uri.local), rows=[RowId("a.csv", 0)], files=(), area=area)
    assert content(split.remainder)["_SUCCESS"] == b""


def test_the_halves_can_lie_on_another_storage(whole):
    memory = fsspec.filesystem("memory")
    area = SubjectUri.parse("memory://quarantine-test/area")
    try:
        split = set_aside(whole, rows=[RowId("a.csv", 0)], files=["b.csv"], area=area)
        assert str(split.remainder.uri).startswith("memory://quarantine-test/area/")
        assert content(split.remainder) == {
            "a.csv": b"n\n1\n2\n",
            "sub/c.csv": b"n\n6\n7\n8\n",
        }
        again = set_aside(whole, rows=[RowId("a.csv", 0)], files=["b.csv"], area=area)
        assert again.remainder.digest == split.remainder.digest
    finally:
        memory.rm("/quarantine-test", recursive=True)


def test_a_file_that_somebody_planted_in_the_place_of_the_remainder_is_not_cleared(whole, area):
    rows = [RowId("a.csv", 0)]
    place = set_aside(whole, rows=rows, files=(), area=area).remainder.uri.local
    (place / "planted.csv").write_bytes(b"n\n666\n")
    remainder = set_aside(whole, rows=rows, files=(), area=area).remainder
    assert {file.path for file in remainder.manifest.files} == {"a.csv", "b.csv", "sub/c.csv"}
    assert take_snapshot(remainder.uri).digest != remainder.digest


def test_a_file_that_is_exchanged_while_the_remainder_is_written_is_not_cleared(
    whole, area, monkeypatch
):
    write = LocalStore.write

    def exchange(self, target, source):
        write(self, target, source)
        if str(target).endswith("remainder/b.csv"):
            write(self, target, io.BytesIO(b"n\n666\n"))

    monkeypatch.setattr(LocalStore, "write", exchange)
    remainder = set_aside(whole, rows=[RowId("a.csv", 0)], files=(), area=area).remainder
    with pytest.raises(SubjectChangedError):
        remainder.open("b.csv")
