"""Describe Prefect's blocks, API and database to the core, which redacts and judges.

Fields of the types that Prefect keeps as secrets are never fetched: the server masks them.
"""

from __future__ import annotations

import os
from typing import Any

from sluicegate.errors import SubjectError

__all__ = ["read_block"]


def read_block(path: str) -> dict[str, Any]:
    """Describe one block, and how this process reaches Prefect.

    Args:
        path: slug of the block's type and its name, ``s3-bucket/prod``.

    Raises:
        SubjectError: there is no such block, or the API does not answer.
    """
    # Without an API address Prefect starts a server of its own, which must not call home.
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectException

    slug, _, name = path.partition("/")
    if not slug or not name or "/" in name:
        raise SubjectError(
            "a block is named by the slug of its type and its own name",
            next_step="write prefect-block://TYPE-SLUG/NAME",
        )
    try:
        with get_client(sync_client=True) as client:
            document = client.read_block_document_by_name(name, slug, include_secrets=False)
    except (PrefectException, httpx.HTTPError, RuntimeError, ValueError) as error:
        raise SubjectError(
            f"Prefect gives no block {path!a}: {type(error).__name__}",
            next_step="check the name with 'prefect block ls', and PREFECT_API_URL",
        ) from None
    schema = document.block_schema
    return {
        "kind": "prefect-block",
        "name": path,
        "fields": {"block": document.data, **_deployment()},
        "secret_fields": [f"block.{one}" for one in schema.fields.get("secret_fields", [])]
        if schema
        else ["block"],
    }


def _deployment() -> dict[str, Any]:
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    database, tls = (
        settings.server.database,
        settings.server.database.sqlalchemy.connect_args.tls,
    )
    url = database.connection_url
    return {
        "api": {
            "url": settings.api.url,
            "tls_insecure_skip_verify": settings.api.tls_insecure_skip_verify,
        },
        "database": {
            "connection_url": url.get_secret_value() if url else None,
            "tls_enabled": tls.enabled,
            "tls_check_hostname": tls.check_hostname,
        },
    }
