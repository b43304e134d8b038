"""``sluicegate backup``, ``promote``, ``rollback``, ``restore`` and ``heads``."""

from __future__ import annotations

import argparse
import json
import os

import pytest

from sluicegate.cli.backup import add_backup
from sluicegate.cli.rollback import add_heads, add_promote, add_restore, add_rollback
from sluicegate.errors import ClearanceRefused, ConfigurationError
from sluicegate.gate import run_gate
from sluicegate.serving import pointer
from sluicegate.stages import registry
from tests.serving_scenes import BUILT_IN, LookAtModel, ServingScene


@pytest.fixture
def scene(tmp_path, monkeypatch) -> ServingScene:
    for name, target in BUILT_IN.items():
        monkeypatch.setitem(registry.BUILT_IN, name, target)
    made = ServingScene.new(tmp_path / "project")
    monkeypatch.setenv("SLUICEGATE_POLICY", str(made.policy))
    monkeypatch.delenv("SLUICEGATE_SIGNING_KEY", raising=False)
    monkeypatch.delenv("SLUICEGATE_HEADS_SEEN", raising=False)
    monkeypatch.setattr(pointer, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    return made


def call(*words: object) -> int:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    for add in (add_backup, add_promote, add_rollback, add_restore, add_heads):
        add(commands)
    args = parser.parse_args([str(word) for word in words])
    return int(args.run(args))


def backup(scene: ServingScene, version: str, *more: object) -> int:
    folder = scene.model(version)
    run_gate(LookAtModel(), folder, scene.policy, signer=scene.gates)
    words = ["--vault", scene.place, "--model", "churn", "--version", version]
    return call("backup", folder, *words, *more)


def head_key(scene: ServingScene) -> tuple[str, str]:
    return "--signing-key", str(scene.folder / "heads.key.pem")


def test_from_backup_to_restore(scene, capsys, tmp_path):
    assert backup(scene, "v1", "--lock", "none", "--promote", *head_key(scene)) == 0
    assert "churn: v1 serves (epoch 1, promote)" in capsys.readouterr().out
    assert backup(scene, "v2", "--lock", "none") == 0
    assert call("promote", "churn", "v2", *head_key(scene), "--reason", "release") == 0
    assert call("rollback", "churn", "--reason", "drift", *head_key(scene), "--json") == 0
    out = capsys.readouterr().out
    assert json.loads(out[out.index("{") :])["version"] == "v1"
    assert call("restore", "churn", "--to", tmp_path / "out", "--purpose", "deploy") == 0
    assert (tmp_path / "out/weights.bin").exists()
    capsys.readouterr()
    assert call("heads", "churn", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [head["version"] for head in listed["heads"]] == ["v1", "v2", "v1"]
    assert listed["serving"]["epoch"] == 3
    assert call("heads", "churn", "--max-age", "1d") == 0
    assert "roll-back" in capsys.readouterr().out


def test_a_backup_prints_one_json_value(scene, capsys):
    assert backup(scene, "v1", "--lock", "none", "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["version"], value["verdict"], value["head"]) == ("v1", "warn", None)
    assert call("backup", scene.model("v1"), "--vault", scene.place, "--model", "churn") == 1
    assert "backup.locked" in capsys.readouterr().out


def test_a_blocked_backup_is_not_promoted(scene, capsys):
    assert backup(scene, "v1", "--promote", *head_key(scene)) == 1
    with pytest.raises(ClearanceRefused, match="was ever promoted"):
        call("heads", "churn")


def test_to_and_to_epoch_and_mend(scene, capsys):
    for version in ("v1", "v2", "v3"):
        backup(scene, version, "--lock", "none", "--promote", *head_key(scene))
    more = (*head_key(scene), "--reason", "drift")
    assert call("rollback", "churn", "--to-epoch", 1, *more) == 0
    assert call("rollback", "churn", "--to", "v2", *more) == 0
    (scene.folder / "vault/models/churn/HEAD").unlink()
    with pytest.raises(ClearanceRefused, match="is missing"):
        call("heads", "churn")
    capsys.readouterr()
    assert call("heads", "churn", "--mend") == 0
    assert "churn: v2 serves (epoch 5, roll-back)" in capsys.readouterr().out


def test_options_that_cannot_be_meant(scene, capsys):
    with pytest.raises(ConfigurationError, match="no vault was named"):
        call("backup", scene.model("v1"), "--model", "churn")
    backup(scene, "v1", "--lock", "none", "--promote", *head_key(scene))
    with pytest.raises(ConfigurationError, match="--max-age is a number"):
        call("heads", "churn", "--max-age", "soon")
    with pytest.raises(SystemExit):
        call("rollback", "churn")  # a reason is needed
    with pytest.raises(SystemExit):
        call("rollback", "churn", "--reason", "x", "--to", "v1", "--to-epoch", "1")
