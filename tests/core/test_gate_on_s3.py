"""A whole pipeline on object storage: gates, quarantine and the consumer."""

from __future__ import annotations

import io

import boto3
import pandas as pd
import pytest

from sluicegate.errors import ClearanceRefused, SubjectChangedError
from tests.aws import moto_server, point_at
from tests.scenes import POLICY


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    """Return a client of a real S3 server that holds the bucket ``lake``."""
    with moto_server() as address:
        point_at(address, monkeypatch, tmp_path, service="S3")
        client = boto3.client("s3")
        client.create_bucket(Bucket="lake")
        yield client


def put(client, key, values):
    body = io.BytesIO()
    pd.DataFrame({"value": values}).to_parquet(body, index=False)
    client.put_object(Bucket="lake", Key=key, Body=body.getvalue())


def test_data_on_s3_is_gated_quarantined_and_verified_on_s3(scene, bucket):
    scene.write_policy(POLICY + "quarantine: s3://lake/quarantine\n")
    put(bucket, "raw/part-0.parquet", [1, 2, -3, 4])
    put(bucket, "raw/part-1.parquet", [5, 6])
    outcome = scene.run("s3://lake/raw/")
    assert outcome.clearance.uri.startswith("s3://lake/quarantine/")
    cleared = scene.open(outcome.clearance)
    assert cleared.files == ("part-0.parquet", "part-1.parquet")
    assert cleared.read_frame()["value"].tolist() == [1, 2, 4, 5, 6]
    with pytest.raises(ClearanceRefused, match="says quarantine"):
        scene.open("s3://lake/raw")


def test_an_object_swapped_after_the_gate_is_refused(scene, bucket):
    put(bucket, "raw.parquet", [1, 2, 3])
    clearance = scene.run("s3://lake/raw.parquet").clearance
    cleared = scene.open(clearance)
    put(bucket, "raw.parquet", [7, 8, 9])
    with pytest.raises(SubjectChangedError, match="changed after its snapshot"):
        cleared.read_frame()
    with pytest.raises(ClearanceRefused, match="is not what was cleared"):
        scene.open(clearance)


def test_an_object_added_under_the_prefix_is_refused(scene, bucket):
    put(bucket, "raw/part-0.parquet", [1, 2, 3])
    clearance = scene.run("s3://lake/raw").clearance
    put(bucket, "raw/part-1.parquet", [-1])
    with pytest.raises(ClearanceRefused, match="is not what was cleared"):
        scene.open(clearance)
