r"""Checksum files: what ``sha256sum``, ``shasum``, BSD ``sha256`` and ``openssl dgst`` write.

One digest a line, in one of three forms::

    <hex>  <name>            text mode;  <hex> *<name>  binary mode
    \<hex>  <name>           the name is escaped: \\ backslash, \n line feed, \r return
    SHA256 (<name>) = <hex>  tagged; openssl writes SHA2-256(<name>)= <hex>

A line ends with a line feed and with nothing else: names may hold other characters that
some readers take for line ends, and such a reader would see other names than the writer.

Source: GNU coreutils 9, manual, section "md5sum invocation" (the format that all of the
family share).
"""

from __future__ import annotations

import re
from typing import Final

from sluicegate.canonical import Digest
from sluicegate.errors import ReceiptError
from sluicegate.receipts.published.model import (
    MAX_LIST_BYTES,
    Collector,
    Published,
    PublishedFile,
    check_listed_name,
)

__all__ = ["read_checksums"]

_PLAIN: Final = re.compile(r"(\\?)([0-9a-fA-F]+) [ *](.+)", re.DOTALL)
_TAGGED: Final = re.compile(r"(\\?)([A-Za-z0-9/-]+) ?\((.+)\) ?= ([0-9a-fA-F]+)", re.DOTALL)
_ESCAPES: Final = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}
_ESCAPE: Final = re.compile(r"\\.?", re.DOTALL)
_SHA256_TAGS: Final = {"SHA256", "SHA2-256"}
_WEAK_TAGS: Final = {"MD5": 32, "SHA1": 40, "SHA-1": 40, "RMD160": 40, "CRC32": 8}
"""Tags of digests that do not bind, with their lengths in hexadecimal digits."""
_SHA256_DIGITS: Final = 64
_PLAIN_LENGTHS: Final = {8: "CRC-32", 32: "MD5", 40: "SHA-1"}
"""What a digest without a tag must be, by its length, where that does not bind."""


def read_checksums(data: bytes) -> Published:
    """Read a checksum file.

    Blank lines and lines that start with ``#`` are passed over. A file that is tagged may
    list weaker digests beside SHA-256; names that have only those are :attr:`Published.weak`.

    Raises:
        ReceiptError: not UTF-8, a line of another form, digests that are no SHA-256, a name
            that leaves the folder or has two digests, or nothing listed at all.
    """
    if len(data) > MAX_LIST_BYTES:
        raise ReceiptError(f"the checksum file is larger than {MAX_LIST_BYTES} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ReceiptError(f"the checksum file is not UTF-8 at byte {error.start}") from error
    if text.startswith("-----BEGIN PGP SIGNED MESSAGE-----"):
        raise ReceiptError(
            "the checksum file is wrapped in an OpenPGP signature, which is not verified here",
            next_step="verify it with gpg and give the text that gpg writes out",
        )
    found = Collector("the checksum file")
    for number, line in enumerate(text.split("\n"), start=1):
        content = line.removesuffix("\r")
        if content.strip() and not content.startswith("#"):
            _read_line(content, f"the checksum file, line {number},", found)
    return found.published()


def _read_line(line: str, where: str, found: Collector) -> None:
    if tagged := _TAGGED.fullmatch(line):
        escaped, tag, name, digits = tagged.groups()
        if tag.upper() in _WEAK_TAGS:
            if len(digits) != _WEAK_TAGS[tag.upper()]:
                raise _malformed(where)
            found.add_weak(_name(name, where, escaped=bool(escaped)))
            return
        if tag.upper() not in _SHA256_TAGS:
            raise ReceiptError(f"{where} holds {tag[:20]!a}, expected SHA256")
    elif plain := _PLAIN.fullmatch(line):
        escaped, digits, name = plain.groups()
        if kind := _PLAIN_LENGTHS.get(len(digits)):
            raise ReceiptError(
                f"{where} holds {kind}, which does not bind the content",
                next_step="ask the publisher for SHA-256 digests",
            )
    else:
        raise _malformed(where)
    if len(digits) != _SHA256_DIGITS:
        raise ReceiptError(f"{where} holds {len(digits)} hexadecimal digits; SHA-256 has 64")
    path = _name(name, where, escaped=bool(escaped))
    found.add(path, PublishedFile(Digest(digits.lower())))


def _name(text: str, where: str, *, escaped: bool) -> str:
    if not escaped:
        return check_listed_name(text, where=where)
    unknown = [part for part in _ESCAPE.findall(text) if part not in _ESCAPES]
    if unknown:
        raise ReceiptError(f"{where} holds the unknown escape {unknown[0]!a}")
    return check_listed_name(_ESCAPE.sub(lambda found: _ESCAPES[found[0]], text), where=where)


def _malformed(where: str) -> ReceiptError:
    return ReceiptError(
        f"{where} is not a SHA-256 and a name",
        next_step="write the file with: sha256sum FILE… > SHA256SUMS",
    )
