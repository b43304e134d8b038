"""Data sets that only grow: every version extends the one before, provably."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sluicegate.cli.main import main
from sluicegate.errors import ClearanceRefused, LedgerError, ReceiptError, SubjectError
from sluicegate.growth import append_version, verify_growth
from sluicegate.merkle import consistency_proof, leaf_hash
from sluicegate.policy.load import load_policy
from sluicegate.receipts.statement import parse_statement, write_statement
from sluicegate.signing import attest, open_evidence
from tests.scenes import Scene


class Lake:
    def __init__(self, folder):
        self.scene = Scene(folder)
        self.scene.write_policy(
            self.scene.policy.read_text().replace("quarantine]", "quarantine, growth]")
        )
        self.folder = folder / "lake"
        self.folder.mkdir()

    def write(self, **files):
        for name, text in files.items():
            (self.folder / name).write_text(text)

    def append(self, **options):
        return append_version(
            str(self.folder),
            dataset="clicks",
            policy=self.scene.policy,
            signer=self.scene.signer,
            **options,
        )

    def verify(self):
        return verify_growth(str(self.folder), dataset="clicks", policy=self.scene.policy)


@pytest.fixture
def lake(tmp_path):
    made = Lake(tmp_path)
    made.write(b="1", a="2")
    return made


def test_versions_that_grow_are_recorded_and_verified(lake):
    first = lake.append().says
    lake.write(A="3", c="4")
    second = lake.append().says
    assert (first.version, first.tree.size, first.before, first.proof) == (1, 2, None, ())
    assert (second.version, second.tree.size, second.before) == (2, 4, first.tree)
    assert [item.says.tree for item in lake.verify()] == [first.tree, second.tree]


def test_the_proof_is_the_one_of_the_list_in_order_of_arrival(lake):
    lake.append()
    lake.write(A="3")  # sorts before the others, and arrived after them
    version = lake.append().says
    path = lake.scene.evidence / "arrivals" / f"{version.tree.root.hex}.ndjson"
    lines = path.read_bytes().splitlines()
    assert [json.loads(line)["path"] for line in lines] == ["a", "b", "A"]
    assert version.proof == consistency_proof([leaf_hash(line) for line in lines], 2)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda folder: (folder / "a").write_text("other"), "1 files .* gone or changed: a"),
        (lambda folder: (folder / "a").unlink(), "1 files .* gone or changed: a"),
        (lambda folder: (folder / "a").rename(folder / "z"), "1 files .* gone or changed: a"),
    ],
    ids=["changed", "removed", "renamed"],
)
def test_what_did_not_only_grow_is_no_next_version(lake, harm, says):
    lake.append()
    lake.write(new="file")
    harm(lake.folder)
    with pytest.raises(SubjectError, match=says):
        lake.append()
    with pytest.raises(ClearanceRefused, match="is not version 1"):
        lake.verify()


def test_nothing_new_is_no_version(lake):
    lake.append()
    with pytest.raises(SubjectError, match="no new files"):
        lake.append()


def test_a_list_of_arrivals_that_was_edited_is_refused(lake):
    version = lake.append().says
    path = lake.scene.evidence / "arrivals" / f"{version.tree.root.hex}.ndjson"
    path.write_bytes(b"\n".join(reversed(path.read_bytes().splitlines())) + b"\n")
    lake.write(c="3")
    for act in (lake.append, lake.verify):
        with pytest.raises((ReceiptError, ClearanceRefused), match=r"edited|is not version"):
            act()
    path.unlink()
    with pytest.raises(ReceiptError, match="cannot read the list"):
        lake.append()


def forge(lake, says, **changes):
    policy = load_policy(lake.scene.policy)
    return attest(replace(says, **changes), open_evidence(policy, write=True), lake.scene.signer)


def test_a_statement_whose_proof_does_not_fit_is_no_statement(lake):
    first = lake.append().says
    lake.write(c="3")
    second = lake.append().says
    for changes in (
        {"proof": ()},
        {"proof": (bytes(32), *second.proof[1:])},
        {"before": replace(first.tree, root=second.tree.root)},
        {"tree": replace(second.tree, size=9)},
        {"before": None},
        {"version": 1},
    ):
        with pytest.raises(ReceiptError):
            parse_statement(write_statement(replace(second, **changes)))


def test_a_version_that_skips_one_breaks_the_chain(lake):
    lake.append()
    lake.write(c="3")
    second = lake.append().says
    forge(lake, second, version=4, invocation="x")
    with pytest.raises(ClearanceRefused, match="it says version 4"):
        lake.verify()


def test_of_two_writers_the_first_counts_and_the_second_is_told(lake, monkeypatch):
    lake.append()
    lake.write(c="3")
    winner = lake.append()
    import sluicegate.growth as growth

    history, calls = growth.history, []

    def late(records, dataset):  # what the loser saw before the winner wrote
        calls.append(dataset)
        return history(records, dataset)[: 1 if len(calls) == 1 else None]

    monkeypatch.setattr(growth, "history", late)
    with pytest.raises(LedgerError, match="somebody else recorded version 2"):
        lake.append()
    monkeypatch.undo()
    assert lake.verify()[-1].ref == winner.ref


def rotated(lake):
    """Let the key of the lake expire, and return the one that follows it."""
    current = lake.scene.other_key("current")
    entry = "  - {name: current, file: keys/current.pub.pem, stages: [growth]}\n"
    old = "    not_after: 2026-01-01\n"
    lake.scene.write_policy(lake.scene.policy.read_text() + old + entry)
    return current


def test_after_a_key_has_expired_the_next_version_settles_it(lake):
    lake.append()
    lake.scene.signer = rotated(lake)
    with pytest.raises(ClearanceRefused, match=r"version 1 of clicks, the newest, does not count"):
        lake.verify()
    assert lake.append().says.version == 2  # the same files, said again
    assert [bool(item.objection) for item in lake.verify()] == [True, False]
    lake.write(c="3")
    (lake.folder / "a").write_text("other")
    with pytest.raises(SubjectError, match="did not only grow"):
        lake.append()


def test_what_an_expired_key_says_out_of_turn_is_passed_over(lake):
    first = lake.append()
    lake.write(c="3")
    second = lake.append()
    expired = lake.scene.signer
    lake.scene.signer = rotated(lake)
    lake.write(d="4")
    third = lake.append()
    lake.scene.signer, current = expired, lake.scene.signer
    for changes in ({"version": 9}, {"version": 4}, {"version": 4, "previous": first.ref.digest}):
        forge(lake, second.says, invocation=str(changes), **changes)
    lake.scene.signer = current
    assert [item.ref for item in lake.verify()] == [first.ref, second.ref, third.ref]
    lake.write(e="5")
    assert lake.append().says.version == 4
    forge(lake, second.says, version=9, invocation="of a key that counts")
    with pytest.raises(ClearanceRefused, match="it says version 9"):
        lake.verify()


def test_a_version_that_was_followed_at_once_counts(lake, monkeypatch):
    import sluicegate.growth as growth

    real, calls = growth.attest, []

    def overtaken(*parts):
        ref = real(*parts)
        calls.append(ref)
        if len(calls) == 1:
            lake.write(c="3")
            lake.append()
        return ref

    monkeypatch.setattr(growth, "attest", overtaken)
    assert lake.append().says.version == 1
    assert [item.ref for item in lake.verify()] == calls


def test_other_data_sets_and_other_keys_do_not_matter(lake):
    lake.append()
    other = lake.scene.other_key("other")
    lake.write(c="3")
    with pytest.raises(Exception, match="does not trust"):
        append_version(str(lake.folder), dataset="clicks", policy=lake.scene.policy, signer=other)
    with pytest.raises(ClearanceRefused, match="no version of 'views'"):
        verify_growth(str(lake.folder), dataset="views", policy=lake.scene.policy)


def test_the_command_line_says_it(lake, capsys, monkeypatch):
    policy = ["--policy", str(lake.scene.policy), "--dataset", "clicks"]
    assert main(["dataset", "append", str(lake.folder), *policy]) == 0
    assert "2 files (2 new)" in capsys.readouterr().out
    lake.write(c="3")
    assert main(["dataset", "verify", str(lake.folder), *policy, "--json"]) == 1
    capsys.readouterr()
    assert main(["dataset", "append", str(lake.folder), *policy, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["version"] == 2
    assert main(["dataset", "history", *policy, "--json"]) == 0
    assert [item["files"] for item in json.loads(capsys.readouterr().out)] == [2, 3]
