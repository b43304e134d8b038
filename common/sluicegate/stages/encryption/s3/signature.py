"""AWS Signature Version 4 for requests without a body, many with the same headers.

botocore's signer takes every request apart anew, which costs as much as sending it. Here all
that does not change between two requests is computed once. Source: AWS General Reference,
"Signature Version 4 signing process"; Amazon S3 API Reference, "Authenticating Requests".
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Final, NamedTuple

__all__ = ["Identity", "Signer"]

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_NO_BODY: Final = hashlib.sha256(b"").hexdigest()
_TOKEN: Final = "x-amz-security-token"  # noqa: S105  the name of a header
_UNSIGNED: Final = frozenset({"user-agent", "expect", "connection", "x-amzn-trace-id"})
"""Headers that proxies may change."""


class Identity(NamedTuple):
    """Credentials as of now. Never printed: its fields have no place in a message."""

    access_key: str
    secret_key: str
    token: str | None

    def __repr__(self) -> str:
        return "Identity()"


class Signer:
    """Signs requests for one host, region and set of headers; may be shared by threads."""

    def __init__(self, host: str, region: str, headers: Mapping[str, str]) -> None:
        """Fix what all requests have in common.

        Args:
            host: as in the ``Host`` header, with the port if it is not the scheme's own.
            region: region to sign for.
            headers: headers that every request carries, with names in any case.
        """
        self._scope = f"{region}/s3/aws4_request"
        self._region = region
        self._headers = dict(headers)
        fixed = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
        self._fixed = {name: value for name, value in fixed.items() if name not in _UNSIGNED}
        self._fixed |= {"host": host, "x-amz-content-sha256": _NO_BODY}
        self._key: tuple[str, str, bytes] | None = None

    def sign(
        self, method: str, path: str, query: str, identity: Identity, seconds: float | None = None
    ) -> dict[str, str]:
        """Return the headers of a signed request.

        Args:
            method: ``HEAD`` or ``GET``.
            path: path of the URL, percent-encoded once, ``/`` excepted.
            query: query of the URL: one ``name=value``, percent-encoded, or empty.
            identity: credentials.
            seconds: since 1970; by default now.
        """
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))
        signed = self._fixed | {"x-amz-date": stamp}
        if identity.token:
            signed[_TOKEN] = identity.token
        names = sorted(signed)
        listed = ";".join(names)
        lines = "".join(f"{name}:{signed[name]}\n" for name in names)
        request = f"{method}\n{path}\n{query}\n{lines}\n{listed}\n{_NO_BODY}"
        scope = f"{stamp[:8]}/{self._scope}"
        text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(self._day_key(identity, stamp[:8]), text.encode(), "sha256").hex()
        sent = self._headers | {
            "X-Amz-Date": stamp,
            "X-Amz-Content-SHA256": _NO_BODY,
            "Authorization": f"{_ALGORITHM} Credential={identity.access_key}/{scope}, "
            f"SignedHeaders={listed}, Signature={signature}",
        }
        if identity.token:
            sent["X-Amz-Security-Token"] = identity.token
        return sent

    def _day_key(self, identity: Identity, day: str) -> bytes:
        kept = self._key
        if kept is not None and kept[0] == day and kept[1] == identity.secret_key:
            return kept[2]
        key = f"AWS4{identity.secret_key}".encode()
        for part in (day, self._region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        self._key = (day, identity.secret_key, key)
        return key
