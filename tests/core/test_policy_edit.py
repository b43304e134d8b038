"""Edits of a policy file: the change that was meant, and nothing else."""

from __future__ import annotations

import difflib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluicegate.errors import KeyFileError, PolicyError
from sluicegate.policy import edit
from sluicegate.policy.edit import add_key, revoke_key, rotate_key
from sluicegate.policy.load import load_policy
from sluicegate.policy.text import KeyEntry
from sluicegate.receipts.keys import new_key_pair

HEAD = """\
version: 1   # the format
evidence: ev

purposes:
  train:
    stages: [flag-negatives]   # toy
"""
ENTRY = KeyEntry(name="spare", file="keys/spare.pub.pem", stages=("*",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with keys; its policy is written by each test."""
    base = tmp_path_factory.mktemp("policy")
    for name in ("gates", "people", "spare"):
        new_key_pair(base / f"{name}.key.pem", base / "keys" / f"{name}.pub.pem")
    return base


def write(folder, text):
    path = folder / "policy.yaml"
    path.write_bytes(text.encode())
    return path


def added_lines(before, after):
    """Return the lines that are new; fail if one that was there is gone."""
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    assert not [line for line in lines if line.startswith("- ")]
    return [line[2:] for line in lines if line.startswith("+ ")]


STYLES = {
    "as init writes it": """\
keys:
  - name: gates
    file: keys/gates.pub.pem
    stages: ["*"]
""",
    "dashes below the key": """\
keys:
- name: gates
  file: keys/gates.pub.pem
  stages:
  - flag-negatives
  - quarantine
- name: people   # who approve
  file: keys/people.pub.pem
  stages: [approval]
  approvers:
  - ann@example.org
""",
    "wide": """\
keys:

    -   file: keys/gates.pub.pem

        stages:
            -   "*"
        # the comment of gates
        name: gates
        # its last comment

    # about people
    -   name: people
        stages: ['*']
        file: "keys/people.pub.pem"   # here
        # and there
    # after all
""",
    "in the middle": """\
keys:
  - name: gates
    file: keys/gates.pub.pem
    stages: ["*"]

# what is left
waivers: []
""",
    "last word a block": """\
keys:
  - file: keys/gates.pub.pem
    stages: ["*"]
    name: |-
      gates
samples: false
""",
    "several lines": """\
keys:
  - name: gates
    file: keys/gates.pub.pem
    stages: [flag-negatives,
             count-rows,
    ]
# the end""",
    "no keys": "",
    "no last line end": "samples: false",
}


@pytest.mark.parametrize("style", STYLES)
def test_a_key_is_added_and_everything_else_stays(folder, style):
    path = write(folder, HEAD + STYLES[style])
    before, old = path.read_text(), load_policy(path)
    content = add_key(path, ENTRY)
    assert path.read_bytes() == content
    new = load_policy(path)
    assert new.keys[:-1] == old.keys
    assert (new.keys[-1].name, new.keys[-1].stages) == ("spare", ("*",))
    assert replace(new, keys=()) == replace(old, keys=())
    assert new.digest == old.digest
    lines = {" ".join(line.split()) for line in added_lines(before, path.read_text())}
    assert lines - {"", "keys:"} == {
        "- name: spare",
        "file: keys/spare.pub.pem",
        "stages: ['*']",
    }


@pytest.mark.parametrize("style", [name for name in STYLES if "gates" in STYLES[name]])
def test_a_key_is_revoked_by_one_line(folder, style):
    path = write(folder, HEAD + STYLES[style])
    before, old = path.read_text(), load_policy(path)
    revoke_key(path, "gates", 42)
    assert [line.strip() for line in added_lines(before, path.read_text())] == ["revoked_at: 42"]
    first, *rest = load_policy(path).keys
    assert first == replace(old.keys[0], revoked_at=42)
    assert tuple(rest) == old.keys[1:]


@pytest.mark.parametrize("style", [name for name in STYLES if "gates" in STYLES[name]])
def test_a_rotation_is_one_change(folder, style):
    path = write(folder, HEAD + STYLES[style])
    before = path.read_text()
    rotate_key(path, "gates", 7, ENTRY)
    first, *_, last = load_policy(path).keys
    assert (first.name, first.revoked_at, last.name) == ("gates", 7, "spare")
    assert len(added_lines(before, path.read_text())) == 4


def test_comments_stay_with_their_entry(folder):
    path = write(folder, HEAD + STYLES["wide"])
    add_key(path, ENTRY)
    revoke_key(path, "gates", 3)
    text = path.read_text()
    assert "        # its last comment\n        revoked_at: 3\n\n    # about people\n" in text
    assert "        # and there\n    -   name: spare\n        file: keys/spare.pub.pem\n" in text


def test_line_ends_of_another_system_stay(folder):
    path = write(folder, (HEAD + STYLES["as init writes it"]).replace("\n", "\r\n"))
    rotate_key(path, "gates", 0, ENTRY)
    assert path.read_bytes().count(b"\r\n") == path.read_bytes().count(b"\n")
    path = write(folder, HEAD + STYLES["as init writes it"].replace("\n", "\r\n"))
    with pytest.raises(PolicyError, match="several kinds of line ends"):
        revoke_key(path, "gates", 0)


def test_a_file_that_begins_with_a_mark_or_dashes_is_edited(folder):
    for start in ("\ufeff", "---\n", "# a comment é😀\n---\n"):
        path = write(folder, start + HEAD + STYLES["as init writes it"])
        rotate_key(path, "gates", 5, ENTRY)
        assert path.read_text().startswith(start)


@pytest.mark.parametrize(
    "text",
    [
        'keys: [{name: gates, file: keys/gates.pub.pem, stages: ["*"]}]\n',
        'keys:\n  - {name: gates, file: keys/gates.pub.pem, stages: ["*"]}\n',
        'keys:\n  -\n    name: gates\n    file: keys/gates.pub.pem\n    stages: ["*"]\n',
        'keys:\n  - &a\n    name: gates\n    file: keys/gates.pub.pem\n    stages: ["*"]\n',
        'keys:\n  - !!map\n    name: gates\n    file: keys/gates.pub.pem\n    stages: ["*"]\n',
        'keys:\n  - &a name: gates\n    file: keys/gates.pub.pem\n    stages: ["*"]\n\x85\n',
    ],
)
def test_what_cannot_be_edited_safely_is_left_and_the_lines_are_shown(folder, text):
    path = write(folder, HEAD + text)
    before = path.read_bytes()
    with pytest.raises(PolicyError) as caught:
        rotate_key(path, "gates", 9, ENTRY)
    assert path.read_bytes() == before
    if "\x85" not in text:
        assert "revoked_at: 9" in str(caught.value)


def test_an_added_entry_is_shown_where_there_is_no_place_for_it(folder):
    path = write(folder, HEAD + "keys: []\n")
    with pytest.raises(PolicyError, match="not a list in block style") as caught:
        add_key(path, ENTRY)
    assert "\n  - name: spare\n    file: keys/spare.pub.pem\n" in str(caught.value)


def test_a_document_end_is_not_written_behind(folder):
    path = write(folder, HEAD + "...\n")
    add_key(path, ENTRY)
    assert load_policy(path).keys[0].name == "spare"
    assert path.read_text().endswith("...\n")


def test_a_whole_policy_in_flow_style_is_left(folder):
    text = '{version: 1, keys: [{name: gates, file: keys/gates.pub.pem, stages: ["*"]}]}\n'
    path = write(folder, text)
    with pytest.raises(PolicyError, match="block style"):
        add_key(path, ENTRY)
    path = write(folder, "{version: 1}\n")
    with pytest.raises(PolicyError, match="block style"):
        add_key(path, ENTRY)
    assert path.read_text() == "{version: 1}\n"


def test_a_revocation_moves_only_to_an_earlier_entry(folder):
    path = write(folder, HEAD + STYLES["as init writes it"] + "    revoked_at: 10  # stolen\n")
    for later in (10, 11):
        with pytest.raises(PolicyError, match="revoked at ledger entry 10 already"):
            revoke_key(path, "gates", later)
    revoke_key(path, "gates", 4)
    assert path.read_text().endswith("    revoked_at: 4  # stolen\n")


def test_names_and_keys_are_listed_once(folder):
    path = write(folder, HEAD + STYLES["dashes below the key"])
    with pytest.raises(PolicyError, match="lists another key as 'people'"):
        add_key(path, replace(ENTRY, name="people"))
    with pytest.raises(PolicyError, match="this key already, as 'gates'"):
        add_key(path, replace(ENTRY, file="keys/gates.pub.pem"))
    with pytest.raises(PolicyError, match=r"0 keys named 'gate'.*did you mean 'gates'"):
        revoke_key(path, "gate", 1)
    with pytest.raises(KeyFileError, match="missing"):
        add_key(path, replace(ENTRY, file="keys/missing.pub.pem"))
    path = write(folder, HEAD + STYLES["dashes below the key"].replace("people ", "gates "))
    with pytest.raises(PolicyError, match="2 keys named 'gates'"):
        revoke_key(path, "gates", 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stages": ("no-such-stage",)}, "no-such-stage"),
        ({"stages": ("approval",)}, "approvers"),
        ({"stages": ()}, "may sign nothing"),
        ({"subjects": ()}, "no subject"),
    ],
)
def test_an_entry_that_the_policy_would_refuse_is_not_written(folder, change, words):
    path = write(folder, HEAD + STYLES["as init writes it"])
    before = path.read_bytes()
    with pytest.raises(PolicyError, match=words):
        add_key(path, replace(ENTRY, **change))
    assert path.read_bytes() == before
    assert not list(folder.glob(".sluicegate-*"))


def test_all_rights_of_an_entry_are_written(folder):
    entry = replace(
        ENTRY,
        stages=("approval", "flag-negatives"),
        approvers=("ann@example.org",),
        subjects=("s3://lake/a*", "file:///x: y"),
        not_before=date(2026, 1, 2),
        not_after=date(2027, 3, 4),
    )
    path = write(folder, HEAD)
    add_key(path, entry)
    (key,) = load_policy(path).keys
    assert key == entry.trusted(folder)
    assert key.not_before == datetime(2026, 1, 2, tzinfo=UTC)
    assert key.not_after == datetime(2027, 3, 4, 23, 59, 59, 999999, tzinfo=UTC)


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
    subject=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
    style=st.sampled_from(sorted(STYLES)),
)
def test_any_text_is_written_so_that_it_is_read_back_or_not_at_all(folder, name, subject, style):
    path = write(folder, HEAD + STYLES[style])
    before = path.read_bytes()
    entry = replace(ENTRY, name=name, subjects=(subject,))
    try:
        add_key(path, entry)
    except PolicyError:
        assert path.read_bytes() == before
    else:
        assert load_policy(path).keys[-1] == entry.trusted(folder)


def test_a_wrong_edit_is_found_out_before_it_is_written(folder, monkeypatch):
    path = write(folder, HEAD + STYLES["dashes below the key"])
    before = path.read_bytes()
    for wrong in (
        lambda self: self._text.encode(),
        lambda self: self._text.replace('"*"', "flag-negatives").encode(),
        lambda self: (self._text + "samples: true\n").encode(),
        lambda self: (self._text + "  revoked_at: 3\n").encode(),
    ):
        monkeypatch.setattr(edit.PolicyText, "content", wrong)
        with pytest.raises(PolicyError, match="cannot be edited safely"):
            revoke_key(path, "gates", 3)
    assert path.read_bytes() == before


def test_a_change_by_somebody_else_is_not_overwritten(folder, monkeypatch):
    path = write(folder, HEAD + STYLES["as init writes it"])
    prove = edit._prove

    def meanwhile(*arguments):
        prove(*arguments)
        path.write_text(HEAD + STYLES["as init writes it"] + "samples: true\n")

    monkeypatch.setattr(edit, "_prove", meanwhile)
    with pytest.raises(PolicyError, match="changed meanwhile"):
        revoke_key(path, "gates", 3)
    assert path.read_text().endswith("samples: true\n")


def test_mode_and_link_of_the_file_stay(folder):
    real = folder / "real.yaml"
    real.write_text(HEAD + STYLES["as init writes it"])
    real.chmod(0o640)
    link = folder / "policy.yaml"
    link.unlink(missing_ok=True)
    link.symlink_to("real.yaml")
    revoke_key(link, "gates", 3)
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert "revoked_at: 3" in real.read_text()
    link.unlink()


def test_edits_at_the_same_time_wait_for_each_other(folder):
    path = write(folder, HEAD + STYLES["as init writes it"])
    names = [f"n{number}" for number in range(6)]
    for name in names:
        new_key_pair(folder / f"{name}.key.pem", folder / f"keys/{name}.pub.pem")
    entries = [replace(ENTRY, name=name, file=f"keys/{name}.pub.pem") for name in names]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda entry: add_key(path, entry), entries))
    assert sorted(key.name for key in load_policy(path).keys) == ["gates", *names]


def test_a_lock_is_not_waited_for_without_end(folder, monkeypatch):
    path = write(folder, HEAD + STYLES["as init writes it"])
    monkeypatch.setattr(edit, "_LOCK_SECONDS", 0.05)
    with edit._alone(folder), pytest.raises(PolicyError, match="cannot lock"):
        revoke_key(path, "gates", 3)
