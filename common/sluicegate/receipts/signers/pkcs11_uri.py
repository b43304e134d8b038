"""Read ``pkcs11:`` URIs, which name a key on a token and the module that talks to it.

Stricter than RFC 7512 where leniency could sign with the wrong key or show a PIN: an
attribute that is not understood is refused, not ignored; the module is named by its absolute
path; and a PIN never stands in the URI, which ends in logs and process lists.

Source: RFC 7512, sections 2.3 (syntax) and 2.4 (attributes).
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import unquote_to_bytes

from sluicegate.errors import KeyFileError

__all__ = ["KeyLocation", "parse_location", "read_pin"]

_MAX_URI: Final = 4096
"""Characters; a URI has a few hundred."""
_MAX_PIN: Final = 255
"""Bytes. PKCS #11 leaves the maximum to the token; none is known to take more."""
_VALUE: Final = r"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=-]|%[0-9A-Fa-f]{2})"
_IN_PATH: Final = re.compile(rf"(?:{_VALUE}|&)*")
_IN_QUERY: Final = re.compile(rf"(?:{_VALUE}|[/?|])*")
_PATH_NAMES: Final = ("token", "serial", "manufacturer", "model", "object", "id", "type")
_QUERY_NAMES: Final = ("module-path", "pin-source")
_ENVIRONMENT: Final = "env:"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLocation:
    """Which key on which token, through which module."""

    module: str
    """Absolute path of the shared library."""
    token: str | None = None
    """Label of the token."""
    serial: str | None = None
    """Serial number of the token."""
    manufacturer: str | None = None
    model: str | None = None
    label: str | None = None
    """Label of the key (CKA_LABEL), which RFC 7512 calls ``object``."""
    id: bytes | None = None
    """CKA_ID of the key."""
    pin_source: str | None = field(default=None, repr=False)
    """File, or ``env:NAME``, that holds the PIN."""

    def __str__(self) -> str:
        token = self.token if self.token is not None else self.serial
        key = self.label if self.label is not None else (self.id or b"").hex()
        return f"key {key!r} on token {token!r}"


def parse_location(uri: str) -> KeyLocation:
    """Read a ``pkcs11:`` URI.

    Raises:
        KeyFileError: malformed, an attribute that is not understood, given twice or missing, or
            a PIN in the URI. The message holds no value of the URI.
    """
    if len(uri) > _MAX_URI or uri[:7].lower() != "pkcs11:":
        _refuse("it does not begin with pkcs11:, or is too long")
    path, mark, query = uri[7:].partition("?")
    values = _attributes(path.split(";") if path else [], _IN_PATH, _PATH_NAMES)
    values |= _attributes(query.split("&") if mark else [], _IN_QUERY, _QUERY_NAMES)
    text = {name: _text(name, value) for name, value in values.items() if name != "id"}
    if text.pop("type", "private") != "private":
        _refuse("its type is not private")
    if not ({"token", "serial"} & text.keys()) or not ({"object", "id"} & values.keys()):
        _refuse("it must name the token (token or serial) and the key (object or id)")
    module = text.get("module-path", "")
    if not module.startswith("/"):
        _refuse("it must name the module by its absolute path (module-path=/usr/lib/...)")
    return KeyLocation(
        module=module,
        token=text.get("token"),
        serial=text.get("serial"),
        manufacturer=text.get("manufacturer"),
        model=text.get("model"),
        label=text.get("object"),
        id=values.get("id"),
        pin_source=text.get("pin-source"),
    )


def _attributes(
    parts: list[str], grammar: re.Pattern[str], known: tuple[str, ...]
) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if name in ("pin-value", "pinfile"):
            _refuse("a PIN, or its place, is given by pin-source alone, never in the URI itself")
        if not equals or name not in known:
            _refuse(f"an attribute is not one of: {', '.join(known)}")
        if name in found:
            _refuse(f"the attribute {name} is given twice")
        if not value or not grammar.fullmatch(value):
            _refuse(f"the value of {name} is empty, or holds characters that must be %-encoded")
        found[name] = unquote_to_bytes(value)
    return found


def _text(name: str, value: bytes) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        _refuse(f"the value of {name} is not UTF-8")
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        _refuse(f"the value of {name} holds control characters")
    return text


def _refuse(why: str) -> NoReturn:
    # No value is shown, and no cause is chained: either could be a PIN in the wrong place.
    raise KeyFileError(
        f"this pkcs11: URI cannot be used: {why}",
        next_step="write pkcs11:token=NAME;object=KEY?module-path=/PATH/OF/MODULE.so"
        "&pin-source=/PATH/OF/PIN",
    ) from None


def read_pin(location: KeyLocation, password: bytes | None) -> str | None:
    """Return the PIN: from the source that the URI names, else the key password, if any.

    Args:
        location: may name a file (a path, or ``file:`` and a path) or ``env:NAME``.
        password: what the environment gives for key files.

    Raises:
        KeyFileError: the source is missing, readable by others, empty, or no text.
    """
    source = location.pin_source
    if source is None:
        data = password
    elif source.startswith(_ENVIRONMENT):
        given = os.environ.get(source.removeprefix(_ENVIRONMENT))
        data = given.encode() if given is not None else b""
    else:
        data = _pin_file(source)
    if data is None:
        return None
    data = data.rstrip(b"\r\n")
    try:
        pin = data.decode("utf-8")
    except UnicodeDecodeError:
        raise KeyFileError(f"the PIN for {location} is not UTF-8") from None
    if not pin or len(data) > _MAX_PIN:
        raise KeyFileError(
            f"the PIN for {location} is empty or longer than {_MAX_PIN} bytes",
            next_step="check the file or variable that pin-source names",
        )
    return pin


def _pin_file(source: str) -> bytes:
    path = Path(source.removeprefix("file:"))
    if not path.is_absolute() or path.as_posix().startswith("//"):
        raise KeyFileError(
            "pin-source is the absolute path of a file, file: and such a path, or env:NAME"
        )
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise KeyFileError(f"cannot read the PIN file {path}: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode) or mode & 0o077:
            raise KeyFileError(
                f"the PIN file {path} is not a plain file that only its owner can read",
                next_step=f"chmod 600 {path}; if others may have read it, change the PIN",
            )
        return file.read(_MAX_PIN + 3)
