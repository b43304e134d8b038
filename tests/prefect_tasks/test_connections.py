"""Prefect's blocks as descriptions, from a real server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prefect.blocks.core import Block
from prefect.blocks.fields import SecretDict
from prefect.blocks.system import Secret
from prefect.filesystems import RemoteFileSystem
from prefect.settings import (
    PREFECT_API_TLS_INSECURE_SKIP_VERIFY,
    PREFECT_API_URL,
    PREFECT_SERVER_DATABASE_CONNECTION_URL,
    temporary_settings,
)
from pydantic import SecretStr

from sluicegate.errors import SubjectError
from sluicegate.storage.orchestrators import DescriptionStore
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri
from sluicegate_prefect.connections import read_block

PASSWORD = "hunter2-Zebra!"


class Warehouse(Block):
    """A block as users write them."""

    _block_type_slug = "test-warehouse"

    host: str
    password: SecretStr
    optional: SecretStr | None = None
    more: SecretDict | None = None
    token: str = ""
    options: dict[str, Any] = {}


def described(path: str) -> dict[str, Any]:
    uri = SubjectUri("prefect-block", path)
    snapshot = take_snapshot(uri, store=DescriptionStore(read_block))
    with snapshot.open("description.json") as source:
        data = source.read()
    assert b"hunter2" not in data
    return json.loads(data)


def test_a_block_with_secret_and_plain_fields() -> None:
    made = Warehouse(
        host="db.example",
        password=SecretStr(PASSWORD),
        more=SecretDict({"inner": PASSWORD}),
        token=PASSWORD,
        options={"verify": False, "url": f"https://me:{PASSWORD}@host.example"},
    )
    made.save("main", overwrite=True)
    assert "hunter2" not in repr(read_block("test-warehouse/main")["fields"]["block"]["password"])
    block = described("test-warehouse/main")["fields"]["block"]
    assert block["host"] == "db.example"
    assert block["password"]["where"] == "secret store"
    assert block["more"]["where"] == "secret store" or all(
        one["where"] == "secret store" for one in block["more"].values()
    )
    assert block["token"]["where"] == "plain"
    assert block["options"]["verify"] is False
    assert block["options"]["url"]["url"]["userinfo"]["form"] == "credentials in a URL"


def test_the_digest_does_not_depend_on_the_secret() -> None:
    digests = set()
    for value in (PASSWORD, "another"):
        Secret(value=value).save("rotated", overwrite=True)
        uri = SubjectUri("prefect-block", "secret/rotated")
        digests.add(take_snapshot(uri, store=DescriptionStore(read_block)).digest)
    assert len(digests) == 1


def test_keys_among_the_settings_of_a_file_system() -> None:
    settings = {"key": "AKIAIOSFODNN7EXAMPLE", "secret": PASSWORD, "use_ssl": False}
    RemoteFileSystem(basepath="s3://bucket/x", settings=settings).save("lake", overwrite=True)
    block = described("remote-file-system/lake")["fields"]["block"]
    assert block["settings"]["key"]["form"] == "AWS access key id"
    assert block["settings"]["secret"]["where"] == "plain"
    assert block["settings"]["use_ssl"] is False


@pytest.mark.parametrize("path", ["secret/absent", "no-such-type/x"])
def test_a_block_that_is_not_there(path: str) -> None:
    with pytest.raises(SubjectError, match="Prefect gives no block"):
        read_block(path)


@pytest.mark.parametrize("path", ["secret", "/x", "secret/", "a/b/c"])
def test_names_that_are_no_block(path: str) -> None:
    with pytest.raises(SubjectError, match="slug of its type"):
        read_block(path)


def test_a_server_that_does_not_answer() -> None:
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(SubjectError, match="Prefect gives no block"),
    ):
        read_block("secret/x")


def test_how_prefect_is_reached() -> None:
    Secret(value="x").save("reached", overwrite=True)
    url = f"postgresql+asyncpg://me:{PASSWORD}@db.example/prefect"
    with temporary_settings(
        {
            PREFECT_SERVER_DATABASE_CONNECTION_URL: url,
            PREFECT_API_TLS_INSECURE_SKIP_VERIFY: True,
        }
    ):
        fields = described("secret/reached")["fields"]
    assert fields["api"]["tls_insecure_skip_verify"] is True
    assert fields["api"]["url"]["url"]["host"] in ("127.0.0.1", "localhost")
    database = fields["database"]["connection_url"]["url"]
    assert (database["scheme"], database["host"]) == ("postgresql+asyncpg", "db.example")
    assert fields["database"]["tls_enabled"] is False
