"""The example flow that trains from a bucket, in a real Prefect on a simulated AWS."""

from __future__ import annotations

import sys
from pathlib import Path

import boto3
import pytest

from sluicegate.errors import GateBlocked
from tests.lake import EXAMPLES, lake_project, mend


@pytest.mark.slow
def test_the_flow_trains_from_the_mended_bucket_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.syspath_prepend(str(EXAMPLES / "prefect"))
    monkeypatch.delitem(sys.modules, "lake_secured", raising=False)
    with lake_project(tmp_path) as lake:
        for name, value in lake.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        from lake_secured import lake_secured

        with pytest.raises(GateBlocked, match=r"encryption\.s3_object_mode"):
            lake_secured()
        mend(lake.aws)
        assert lake_secured() == 1797
