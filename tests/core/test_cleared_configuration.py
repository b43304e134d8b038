"""Who may change the questions: configuration files that must be cleared themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from sluicegate.clearance import open_cleared
from sluicegate.errors import ClearanceRefused, ConfigurationError, GateBlocked, PolicyError
from sluicegate.gate import gate
from sluicegate.policy.load import load_policy
from sluicegate.receipts.keys import new_key_pair
from sluicegate.stages.validation import ValidateDataset
from sluicegate.stages.validation.check_suite import CheckSuite
from tests.core.validation_cases import BETWEEN, NOT_NULL, ask, suite_json

POLICY = """\
version: 1
evidence: evidence
purposes:
  suites:
    stages:
      - check-suite: {baseline: agreed.json}
  train:
    configuration: suites
    stages:
      - validate-dataset: {suite: suite.json}
keys:
  - {name: owner, file: owner.pub.pem, stages: [check-suite]}
  - {name: gates, file: gates.pub.pem, stages: [validate-dataset, quarantine]}
"""


class Shop:
    """A project where the data owner's key stands behind suites, and the gates' behind data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.policy = folder / "policy.yaml"
        self.policy.write_text(POLICY)
        self.suite = folder / "suite.json"
        self.signers = {}
        for name in ("owner", "gates"):
            pair = folder / f"{name}.pem", folder / f"{name}.pub.pem"
            self.signers[name] = new_key_pair(*pair)
        self.write(agreed := suite_json(ask(NOT_NULL, column="id"), ask(BETWEEN, **AGE)))
        (folder / "agreed.json").write_bytes(agreed)
        self.data = folder / "orders.parquet"
        pd.DataFrame({"id": [1, 2, 3], "age": [20, 30, 40]}).to_parquet(self.data)

    def write(self, suite: bytes) -> None:
        self.suite.write_bytes(suite)

    def approve(self, key: str = "owner"):
        stage = CheckSuite(baseline=self.folder / "agreed.json")
        return gate(stage, self.suite, self.policy, signer=self.signers[key])

    def validate(self):
        stage = ValidateDataset(suite=self.suite)
        return gate(stage, self.data, self.policy, signer=self.signers["gates"])


AGE = {"column": "age", "min_value": 0, "max_value": 120}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_a_suite_that_its_owner_signed_clears_data(shop):
    shop.approve()
    cleared = open_cleared(shop.validate(), purpose="train", policy=shop.policy)
    assert list(cleared.read_frame()["age"]) == [20, 30, 40]
    # The receipt for the suite is among those that the clearance rests on.
    assert len(cleared.receipts) == 2


def test_a_suite_that_nobody_signed_stops_the_gate_before_the_work(shop):
    with pytest.raises(ClearanceRefused, match=r"suite.json, which is not cleared for 'suites'"):
        shop.validate()


def test_the_consumer_asks_for_itself(shop):
    # A gate with laxer rules of its own: no purpose there asks for signed suites.
    lax = shop.folder / "lax.yaml"
    lax.write_text(POLICY.replace("    configuration: suites\n", ""))
    stage = ValidateDataset(suite=shop.suite)
    clearance = gate(stage, shop.data, lax, signer=shop.signers["gates"])
    with pytest.raises(ClearanceRefused):
        open_cleared(clearance, purpose="train", policy=shop.policy)


def test_a_receipt_by_another_key_does_not_count(shop):
    with pytest.raises(ConfigurationError, match="not trusted for check-suite"):
        shop.approve("gates")
    lax = shop.folder / "lax.yaml"
    lax.write_text(POLICY.replace("[validate-dataset, quarantine]", "[check-suite]"))
    gate(
        CheckSuite(baseline=shop.folder / "agreed.json"),
        shop.suite,
        lax,
        signer=shop.signers["gates"],
    )
    with pytest.raises(ClearanceRefused, match="not cleared for 'suites'"):
        shop.validate()


def test_a_suite_that_was_changed_afterwards_is_another_suite(shop):
    shop.approve()
    shop.write(suite_json(ask(NOT_NULL, column="id"), ask(BETWEEN, **{**AGE, "max_value": 99})))
    with pytest.raises(ClearanceRefused, match="not cleared for 'suites'"):
        shop.validate()


def test_a_weaker_suite_is_not_cleared(shop):
    shop.write(suite_json(ask(NOT_NULL, column="id"), ask(BETWEEN, **{**AGE, "max_value": 999})))
    with pytest.raises(GateBlocked, match="max_value"):
        shop.approve()


def test_a_stricter_suite_is_cleared(shop):
    shop.write(suite_json(ask(NOT_NULL, column="id"), ask(BETWEEN, **{**AGE, "max_value": 99})))
    shop.approve()
    open_cleared(shop.validate(), purpose="train", policy=shop.policy)


def test_a_suite_that_is_not_understood_is_not_cleared(shop):
    shop.write(suite_json(ask("expect_column_values_to_not_be_nul", column="id")))
    with pytest.raises(GateBlocked, match="did you mean"):
        shop.approve()


def test_what_the_policy_says_must_make_sense(shop):
    for wrong, why in (("suite", "did you mean 'suites'"), ("train", "cleared configuration")):
        shop.policy.write_text(POLICY.replace("configuration: suites", f"configuration: {wrong}"))
        with pytest.raises(PolicyError, match=why):
            load_policy(shop.policy)


def test_it_is_part_of_the_policys_digest_only_where_it_is_asked_for(shop):
    asked = load_policy(shop.policy).deciding()["purposes"]
    assert asked["train"]["configuration"] == "suites"
    assert "configuration" not in asked["suites"]
    assert json.dumps(asked)
