"""Azure Blob Storage: containers and their blobs, through Azure's own client.

Credentials: ``AZURE_STORAGE_CONNECTION_STRING`` if it is set, else what azure-identity finds
(environment, workload identity, managed identity). Nothing is ever read anonymously.

Azure encrypts every blob. Settings of the account (its key, its oldest TLS) belong to the
management interface, which a blob client does not reach. Whether the account demands HTTPS
shows in how it answers one plain request, which carries no credential and reads nothing.
"""

from __future__ import annotations

import io
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException, parse_headers
from importlib import import_module
from time import monotonic
from typing import Any, Final, TypeVar
from urllib.parse import quote, unquote, urlsplit
from xml.etree import ElementTree

from sluicegate.errors import MissingExtraError
from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.refusals import refusal
from sluicegate.stages.encryption.scope import Scope
from sluicegate.stages.encryption.stores.base import Asks, Judgement, wrong
from sluicegate.stages.encryption.stores.names import AzureName, of_subject
from sluicegate.stages.encryption.stores.objects import Listing, read_pages

__all__ = ["judges_of"]

T = TypeVar("T")

_CONNECTION: Final = "AZURE_STORAGE_CONNECTION_STRING"
"""Environment variable that Azure's own tools read."""
_ATTEMPTS: Final = 2
"""Repetitions of a request that failed for a passing reason, after one and three seconds."""
_PLAIN_PORT: Final = 80
"""Where a plain request is tried."""
_HEAD_BYTES: Final = 1 << 16
"""Bytes of an answer read at most; Azure's heads have about 500."""
_ACCOUNT_SCOPE: Final = "$account-encryption-key"
"""The scope that stands for the account's own key."""
_READ: Final = "Microsoft.Storage/storageAccounts/blobServices/containers/read"
_LIST: Final = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"
_ACCOUNT_KEY: Final = Unknown(
    "whose key the account uses is told by the management interface only: "
    "az storage account show --query encryption.keySource"
)
_SCOPE_KEY: Final = Unknown(
    "whose key an encryption scope uses is told by the management interface only: "
    "az storage account encryption-scope show --query source"
)


@dataclass(slots=True)
class _Container:
    """One container during one run; what was answered is kept."""

    scope: Scope
    name: AzureName
    _client: Any = field(default=None, repr=False)
    _described: Any = field(default=None, repr=False)

    def ask(self, call: str, action: str, make: Callable[[Any], T]) -> T | Unknown:
        """Make one call with the client, and sort its answer."""
        errors = _library("azure.core.exceptions")
        client = self.client()
        if isinstance(client, Unknown):
            return client
        try:
            return make(client)
        except errors.AzureError as error:
            status = getattr(error, "status_code", None)
            if not status:
                return Unknown(f"{call}: {type(error).__name__}")
            code = str(getattr(error, "error_code", None) or "")
            return refusal(call, int(status), code, takes=action)

    def client(self) -> Any:
        """Return Azure's client of the container, or :class:`Unknown`."""
        if self._client is None:
            self._client = _connect(self.scope, self.name)
        return self._client

    def described(self) -> Any:
        """Return the container's properties, or :class:`Unknown`; asked once."""
        if self._described is None:
            self._described = self.ask(
                "Get Container Properties", _READ, lambda client: client.get_container_properties()
            )
        return self._described


def judges_of(scope: Scope, name: AzureName) -> Mapping[Asks, Callable[[], Judgement]]:
    """Return who answers which question about one container; nothing is asked before they are.

    Raises:
        MissingExtraError: the client is not installed.
    """
    _library("azure.storage.blob")
    container = _Container(scope, name)
    return {
        Asks.AT_REST: lambda: _judged(container, lambda _: ()),
        Asks.PUBLIC: lambda: _judged(container, _public),
        Asks.TLS: lambda: _judged(container, lambda _: _tls(container)),
        Asks.OBJECT_MODE: lambda: _blobs(container),
    }


def _judged(container: _Container, judge: Callable[[Any], Judgement]) -> Judgement:
    described = container.described()
    return described if isinstance(described, Unknown) else judge(described)


def _public(described: Any) -> Judgement:
    access = described.public_access
    if access is None:
        return ()
    level = str(getattr(access, "value", access))
    return wrong(f"expected a private container, found public access {level}", access=level)


def _tls(container: _Container) -> Judgement:
    """Judge by behaviour: an account that demands HTTPS answers HTTP with one error code.

    Reference: Azure Storage error codes, ``AccountRequiresHttps`` (400).
    """
    url = urlsplit(str(container.client().url))
    if url.scheme == "http":
        return wrong("expected that plain HTTP is refused, found that the account answered it")
    try:
        status, headers = _plain_answer(
            str(url.hostname), url.path, container.scope.settings.timeout
        )
    except (OSError, HTTPException) as error:
        return Unknown(f"HTTP on port {_PLAIN_PORT}: {type(error).__name__}")
    code = headers.get("x-ms-error-code", "")
    if status == 400 and code == "AccountRequiresHttps":
        return ()
    if headers.get("x-ms-request-id") is None:
        return Unknown(f"HTTP on port {_PLAIN_PORT}: somebody other than Azure answered")
    return wrong(
        f"expected the answer AccountRequiresHttps to plain HTTP, found {code or status}",
        status=status,
    )


def _plain_answer(host: str, path: str, seconds: float) -> tuple[int, Message]:
    """Ask for the head of a container over plain HTTP, without credentials.

    Raises:
        OSError: nobody answers in time, or not with HTTP.
        http.client.HTTPException: more or longer headers than HTTP servers send.
    """
    deadline, answer = monotonic() + seconds, b""
    request = (
        f"HEAD {quote(path)}?restype=container HTTP/1.1\r\nHost: {host}\r\n"
        "x-ms-version: 2021-12-02\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((host, _PLAIN_PORT), seconds) as raw:
        raw.sendall(request.encode("ascii"))
        while b"\r\n\r\n" not in answer and len(answer) < _HEAD_BYTES:
            raw.settimeout(max(deadline - monotonic(), 0.001))
            chunk = raw.recv(4096)
            if not chunk:
                break
            answer += chunk
    first, _, rest = answer.partition(b"\r\n")
    match = re.match(rb"HTTP/1\.[01] ([0-9]{3})", first)
    if match is None or b"\r\n\r\n" not in answer:
        raise ConnectionError("not an HTTP server")
    return int(match.group(1)), parse_headers(io.BytesIO(rest))


def _blobs(container: _Container) -> Judgement:
    name, subject = container.name, of_subject(container.scope.snapshot.uri)
    inside = isinstance(subject, AzureName) and (subject.account, subject.container) == (
        name.account,
        name.container,
    )
    prefix = subject.prefix if inside and subject is not None else None
    listing = Listing(name.prefix, container.scope.snapshot, prefix)

    modes = container.scope.settings.modes

    def read(client: Any) -> Unknown | None:
        held: set[str] = set()
        doubts: list[Unknown] = []
        blobs = client.list_blobs(
            name_starts_with=name.prefix or None,
            results_per_page=1000,
            raw_response_hook=lambda answer: held.update(_client_held(answer.http_response.body())),
        )

        def take(blob: Any) -> None:
            fault = _fault(modes, blob, is_held=blob.name in held)
            if isinstance(fault, Unknown):
                doubts[:] = [fault]
            listing.add(blob.name, None if isinstance(fault, Unknown) else fault)

        stopped = read_pages("List Blobs", blobs.by_page(), take)
        return stopped or next(iter(doubts), None)

    return listing.judge(container.ask("List Blobs", _LIST, read))


def _client_held(page: bytes) -> set[str]:
    """Return the blobs of a page whose key the client holds: Azure's client drops that.

    Reference: Azure REST API, List Blobs, ``CustomerProvidedKeySha256``.
    """
    if b"<CustomerProvidedKeySha256>" not in page:
        return set()
    found = set()
    for blob in ElementTree.fromstring(page).iter("Blob"):  # noqa: S314  the client parses it too
        name = blob.find("Name")
        if name is not None and blob.findtext("Properties/CustomerProvidedKeySha256"):
            text = name.text or ""
            found.add(unquote(text) if name.get("Encoded") == "true" else text)
    return found


def _fault(modes: tuple[str, ...], blob: Any, *, is_held: bool) -> str | Unknown | None:
    """Return what is wrong with the encryption of one blob; modes as at Google."""
    wanted = f"expected one of {', '.join(modes)}"
    if is_held:
        return None if "SSE-C" in modes else f"{wanted}, found SSE-C"
    if blob.server_encrypted is not True:
        return "expected encryption by the service, found none"
    whose = {"SSE-S3", "SSE-KMS"} & set(modes)
    if not whose:
        return f"{wanted}, found a key of the service"
    if len(whose) == 2:
        return None
    named = blob.encryption_scope not in (None, _ACCOUNT_SCOPE)
    return _SCOPE_KEY if named else _ACCOUNT_KEY


def _connect(scope: Scope, name: AzureName) -> Any:
    """Return a client of the container; :class:`Unknown` without credentials."""
    storage = _library("azure.storage.blob")
    options = {
        "retry_policy": storage.ExponentialRetry(
            initial_backoff=1, increment_base=2, retry_total=_ATTEMPTS, random_jitter_range=0
        ),
        "connection_timeout": scope.settings.timeout,
        "read_timeout": scope.settings.timeout,
    }
    text = os.environ.get(_CONNECTION)
    if text:
        try:
            service = storage.BlobServiceClient.from_connection_string(text, **options)
        except (ValueError, KeyError):
            return Unknown(f"{_CONNECTION} is not a connection string")
        if service.account_name != name.account:
            return Unknown(f"{_CONNECTION} is of another account than {name.account}")
        if service.credential is None and "sig=" not in str(urlsplit(service.url).query):
            return Unknown("no Azure credentials; anonymous access is never tried")
    else:
        try:
            identity = import_module("azure.identity")
        except ImportError:
            return Unknown(f"no Azure credentials: neither {_CONNECTION} nor azure-identity")
        service = storage.BlobServiceClient(
            f"https://{name.account}.blob.core.windows.net",
            credential=identity.DefaultAzureCredential(),
            **options,
        )
    return service.get_container_client(name.container)


def _library(module: str) -> Any:
    """Import a module of Azure's client."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            "azure-storage-blob", "azure", "checking an azure:// store"
        ) from error
