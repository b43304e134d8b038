"""Disclosures: one leaf is shown, it cannot be changed or moved, and nothing else is shown."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
import os
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from sluicegate.canonical import canonical_json
from sluicegate.cli.main import main
from sluicegate.disclosure import commit, disclose, load_secret, verify_disclosure
from sluicegate.errors import ClearanceRefused, ConfigurationError, KeyFileError, SubjectError
from sluicegate.model import RowId
from sluicegate.policy.load import load_policy
from sluicegate.receipts.statement import WaiverUse
from sluicegate.signing import attest, open_evidence
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri
from sluicegate.testimony import LedgerRecords
from tests.scenes import Scene

SECRET = bytes(range(32))


class World:
    def __init__(self, folder):
        self.scene = Scene(folder)
        self.scene.write_policy(
            self.scene.policy.read_text().replace("quarantine]", "quarantine, commitment]")
        )
        self.folder = folder / "files"
        self.folder.mkdir()
        for name in "abcde":
            (self.folder / name).write_text(f"content of {name}")
        self.data = self.scene.write_data([1, 2, 3, 4, 5])

    def commit(self, subject, of, secret=SECRET):
        return commit(
            str(subject),
            of=of,
            secret=secret,
            policy=self.scene.policy,
            signer=self.scene.signer,
        )

    def disclose(self, subject, leaf, secret=SECRET, **options):
        return disclose(str(subject), leaf=leaf, secret=secret, policy=self.scene.policy, **options)

    def verify(self, document):
        return verify_disclosure(document, policy=self.scene.policy)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def shown(world):
    world.commit(world.folder, "files")
    return world.disclose(world.folder, "c")


def test_a_file_is_shown_to_be_part_of_the_whole(world, shown):
    seen = world.verify(shown)
    record = json.loads(seen.data)
    assert record["path"] == "c"
    assert record["sha256"] == hashlib.sha256(b"content of c").hexdigest()
    assert (seen.index, seen.size, seen.of) == (2, 5, "files")
    assert seen.subject.digest == take_snapshot(SubjectUri.parse(world.folder)).digest


def test_a_row_is_shown_with_the_verdicts_about_the_whole(world):
    world.scene.run(str(world.data))
    world.commit(world.data, "rows")
    document = world.disclose(world.data, RowId("data.parquet", 3), purpose="train")
    seen = world.verify(document)
    assert (seen.data, seen.index, seen.size) == (b"[4]", 3, 5)
    assert [item.stage for item in seen.verdicts] == ["flag-negatives", "count-rows"]
    assert seen.columns


def test_nothing_else_is_shown(world, shown):
    text = json.dumps(shown)
    assert "content" not in text
    taken = take_snapshot(SubjectUri.parse(world.folder))
    for record in taken.manifest.files:
        if record.path != "c":
            leaf = hashlib.sha256(b"\x00" + record.line()).hexdigest()
            assert leaf not in shown["proof"]
            assert record.sha256.hex not in text
            assert record.sha256.hex not in base64.b64decode(shown["receipt"]).decode()


def test_salts_are_what_the_documentation_says(world, shown):
    context = b"sluicegate salt v1\x00files\x00" + bytes.fromhex(shown["subject"][7:])
    salt = hmac.new(SECRET, context + (2).to_bytes(8, "big"), hashlib.sha256).hexdigest()
    assert shown["salt"] == salt


def test_no_part_can_be_altered(world, shown):
    def flipped(text):
        return text[:-1] + ("0" if text[-1] != "0" else "1")

    other = base64.b64encode(b'{"path":"c","sha256":"00","size":1}').decode()
    changes = [
        ("data", other),
        ("salt", flipped(shown["salt"])),
        ("index", 1),
        ("index", -3),
        ("index", True),
        ("size", 4),
        ("size", 10**9),
        ("of", "rows"),
        ("subject", "sha256:" + "0" * 64),
        ("proof", shown["proof"][:-1]),
        ("proof", [*shown["proof"], "00" * 32]),
        ("proof", [flipped(shown["proof"][0]), *shown["proof"][1:]]),
        ("proof", ["00"] * 70),
        ("proof", "no list"),
        ("receipt", base64.b64encode(b"{}").decode()),
        ("receipt", "?"),
        ("verdicts", [shown["receipt"]]),
        ("verdicts", [None]),
        ("kind", "sluicegate-disclosure/v2"),
        ("extra", 1),
    ]
    for member, value in changes:
        with pytest.raises(ClearanceRefused):
            world.verify({**shown, member: value})
    for member in shown:
        with pytest.raises(ClearanceRefused):
            world.verify({key: value for key, value in shown.items() if key != member})
    for nonsense in (None, [], "text", 7):
        with pytest.raises(ClearanceRefused):
            world.verify(nonsense)


def test_a_leaf_cannot_pose_as_one_of_another_data_set(world, shown):
    (world.folder / "c").write_text("changed")
    world.commit(world.folder, "files")
    other = world.disclose(world.folder, "c")
    mixed = copy.deepcopy(shown) | {"receipt": other["receipt"]}
    with pytest.raises(ClearanceRefused, match="does not lead to the root"):
        world.verify(mixed)


def test_a_verdict_about_other_data_or_a_no_does_not_pass_as_approval(world, shown):
    world.scene.run(str(world.data))
    world.commit(world.data, "rows")
    row = world.disclose(world.data, RowId("data.parquet", 0), purpose="train")
    with pytest.raises(ClearanceRefused, match="about another subject"):
        world.verify({**shown, "verdicts": row["verdicts"]})


def test_another_secret_or_changed_data_has_no_commitment(world, shown):
    with pytest.raises(ClearanceRefused, match="nobody committed"):
        world.disclose(world.folder, "c", secret=bytes(32))
    (world.folder / "a").write_text("changed")
    with pytest.raises(ClearanceRefused, match="nobody committed"):
        world.disclose(world.folder, "c")


def test_a_key_that_may_not_commit_or_was_revoked_is_not_believed(world, shown):
    policy = world.scene.policy
    text = policy.read_text()
    policy.write_text(text.replace(", commitment]", "]"))
    with pytest.raises(ClearanceRefused, match="is not trusted for commitment"):
        world.verify(shown)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        world.commit(world.folder, "files")
    policy.write_text(text + "    revoked_at: 0\n")
    with pytest.raises(ClearanceRefused, match="was revoked"):
        world.verify(shown)


def test_a_verdict_that_consumers_would_not_take_is_not_shown_as_one(world):
    world.scene.run(str(world.data))
    world.commit(world.data, "rows")
    row = world.disclose(world.data, RowId("data.parquet", 0), purpose="train")
    policy = load_policy(world.scene.policy)
    evidence = open_evidence(policy, write=True)
    good = next(iter(LedgerRecords(evidence, policy, datetime.now(UTC)))).statement

    def shown_with(**changes):
        ref = attest(replace(good, invocation="x", **changes), evidence, world.scene.signer)
        verdicts = [base64.b64encode(evidence.receipt(ref)).decode()]
        return world.verify({**row, "verdicts": verdicts})

    waiver = WaiverUse(check="c", owner="o", expires=date(2020, 1, 1))
    with pytest.raises(ClearanceRefused, match="expired on 2020-01-01"):
        shown_with(waivers=(waiver,))
    with pytest.raises(ClearanceRefused, match="issued in the future"):
        shown_with(issued=datetime.now(UTC) + timedelta(days=1))
    with pytest.raises(ClearanceRefused, match="under other rules"):
        shown_with(policy=good.subject.digest)
    still = replace(waiver, expires=datetime.now(UTC).date())
    assert shown_with(waivers=(still,)).verdicts[0].waivers == (still,)


@pytest.mark.parametrize("leaf", ["z", "../a", RowId("data.parquet", 5), RowId("x", 0)])
def test_a_leaf_that_is_not_there_is_refused(world, leaf):
    subject = world.data if isinstance(leaf, RowId) else world.folder
    world.commit(subject, "rows" if isinstance(leaf, RowId) else "files")
    with pytest.raises(SubjectError):
        world.disclose(subject, leaf)


def test_secrets_are_private_files_of_32_bytes(tmp_path):
    path = tmp_path / "secret"
    with pytest.raises(KeyFileError, match="cannot read"):
        load_secret(path)
    made = load_secret(path, create=True)
    assert (len(made), path.stat().st_mode & 0o777) == (32, 0o600)
    assert load_secret(path, create=True) == made
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="can be read by others"):
        load_secret(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(KeyFileError, match="has not 32 bytes"):
        load_secret(path)
    path.unlink()
    os.mkfifo(path, 0o600)
    for create in (False, True):
        with pytest.raises(KeyFileError, match="is not a file"):
            load_secret(path, create=create)


def test_the_command_line_does_all_of_it(world, tmp_path, capsys):
    secret, out = str(tmp_path / "secret"), str(tmp_path / "shown.json")
    policy = ["--policy", str(world.scene.policy)]
    folder = str(world.folder)
    assert main(["disclose", "commit", folder, "--secret", secret, *policy]) == 0
    prove = ["disclose", "prove", folder, "--secret", secret, "--file", "b", "--out", out]
    assert main([*prove, *policy]) == 0
    capsys.readouterr()
    assert main(["disclose", "verify", out, *policy, "--json"]) == 0
    assert json.loads(json.loads(capsys.readouterr().out)["data"])["path"] == "b"
    document = json.loads((tmp_path / "shown.json").read_bytes())
    document["index"] = 0
    (tmp_path / "shown.json").write_bytes(canonical_json(document))
    assert main(["disclose", "verify", out, *policy]) == 1
    (tmp_path / "shown.json").write_text("{")
    assert main(["disclose", "verify", out, *policy]) == 2
    assert main(["disclose", "prove", folder, "--secret", secret, "--row", "x", "--out", out]) == 2
