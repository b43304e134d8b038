"""A delivery into a bucket, for the examples: real digits as Parquet on S3.

``LAKE`` names the bucket and prefix. Region, credentials and endpoint come from the usual
AWS configuration; ``make demo`` points them at a simulated AWS on this machine.
"""

from __future__ import annotations

import io
import os

import boto3
import pandas as pd
from sklearn.datasets import load_digits


def subject() -> str:
    """Return where the delivery lies."""
    return os.environ.get("LAKE", "s3://lake/digits")


def receive(parts: int = 3) -> str:
    """Upload the digits in some files; return their URI."""
    bucket, _, prefix = subject().removeprefix("s3://").partition("/")
    digits = load_digits(as_frame=True).frame
    for part in range(parts):
        body = io.BytesIO()
        digits.iloc[part::parts].to_parquet(body, index=False)
        boto3.client("s3").put_object(
            Bucket=bucket,
            Key=f"{prefix}/part-{part}.parquet",
            Body=body.getvalue(),
            ChecksumAlgorithm="SHA256",
        )
    return subject()


def train(frame: pd.DataFrame) -> int:
    """Stand for a training: return how many rows arrived."""
    return len(frame)
