"""A simulated AWS for tests, and an environment that points nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import boto3
import pytest
from moto.server import ThreadedMotoServer


@contextmanager
def moto_server() -> Iterator[str]:
    """Run moto on a free port of this machine; yield its address."""
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    boto3.DEFAULT_SESSION = None
    host, port = running.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        running.stop()
        boto3.DEFAULT_SESSION = None


def reset(endpoint: str) -> None:
    """Empty the simulated AWS, whatever is locked in it."""
    request = Request(f"{endpoint}/moto-api/reset", method="POST")
    urlopen(request, timeout=30).close()


def point_at(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, service: str = ""
) -> None:
    """Point the usual AWS configuration at an endpoint, and at nothing else.

    ``service`` restricts it to one: ``S3``.
    """
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        f"AWS_ENDPOINT_URL_{service}".rstrip("_"): endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
    }.items():
        monkeypatch.setenv(name, value)
