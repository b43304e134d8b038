"""The stage's options, and what they mean once they are read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

from sluicegate.errors import ConfigurationError
from sluicegate.stages.base import Option

__all__ = ["Settings", "Sources"]

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION: Final = re.compile(r"([1-9][0-9]{0,4})([mhdw])")
_OWN: Final = "verify-provenance"
_MAX_DEPTH: Final = 10_000
"""Longest chain that is followed by default: a model retrained every hour for a year."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a chain may begin."""

    places: tuple[str, ...]
    """URIs, in which ``*`` stands for any text."""
    keys: frozenset[str]
    """Names of keys, as the policy lists them."""

    def allow(self, *, uri: str, key: str) -> bool:
        """Return whether something may come from a place, on the word of a key."""
        return key in self.keys or self.allow_place(uri)

    def allow_place(self, uri: str) -> bool:
        """Return whether something may come from a place."""
        return any(_matches(pattern, uri) for pattern in self.places)


def _matches(pattern: str, uri: str) -> bool:
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(expression, uri, re.DOTALL) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Fields of :class:`~sluicegate.stages.provenance.VerifyProvenance`."""

    sources: Annotated[
        tuple[str, ...],
        Option("where chains may begin: URIs with * for any text, or names of keys"),
    ] = ()
    admitted_by: Annotated[
        tuple[str, ...],
        Option("stages whose clearing verdict admits data from outside"),
    ] = (_OWN,)
    published: Annotated[
        str | Path | None,
        Option("what the publisher vouches for: checksums, an OMS bundle, Croissant", file=True),
    ] = None
    published_signature: Annotated[
        str | Path | None, Option("signature over that file, if it lies beside it", file=True)
    ] = None
    published_key: Annotated[
        str | Path | None, Option("public key of the publisher, PEM", file=True)
    ] = None
    quarantine_delay: Annotated[
        str | None,
        Option("how long data must have been in the ledger before it is used, such as 7d"),
    ] = None
    max_age: Annotated[
        str | None, Option("age from which on statements no longer count, such as 365d")
    ] = None
    require: Annotated[
        tuple[str, ...], Option("activities that must occur in the chain, such as train")
    ] = ()
    require_depth: Annotated[int, Option("fewest links from the subject to a source")] = 0
    max_depth: Annotated[int, Option("most links that are followed")] = _MAX_DEPTH

    def origins(self) -> Sources:
        """Return the sources, read: what holds a slash or is ``*`` is a place.

        Raises:
            ConfigurationError: one is empty, or is the name of a key with ``*`` in it.
        """
        if not all(self.sources):
            raise ConfigurationError("verify-provenance: an entry of sources is empty")
        places = [one for one in self.sources if "/" in one or one == "*"]
        keys = frozenset(self.sources) - frozenset(places)
        if starred := sorted(one for one in keys if "*" in one):
            raise ConfigurationError(
                f"verify-provenance: the entry {starred[0]!a} of sources has no slash, so it is "
                "the name of a key, in which * stands for nothing",
                next_step="write a place as a URI, such as s3://bucket/*, and name keys one by one",
            )
        return Sources(
            tuple(f"file://{one}" if one.startswith("/") else one for one in places),
            keys,
        )

    def admitting(self) -> dict[str, str]:
        """Return the stages that admit, and which of their checks must have passed.

        A verdict of this stage admits only what a publisher vouched for: that a chain was
        sound once must not hide that it has broken since.
        """
        return {
            stage: "provenance.published" if stage == _OWN else "" for stage in self.admitted_by
        }

    def delay(self) -> timedelta | None:
        """Return how long data must have been known.

        Raises:
            ConfigurationError: it is no duration.
        """
        return _duration("quarantine_delay", self.quarantine_delay)

    def age(self) -> timedelta | None:
        """Return how old a statement may be.

        Raises:
            ConfigurationError: it is no duration.
        """
        return _duration("max_age", self.max_age)

    def check(self) -> None:
        """Return if the options make sense together.

        Raises:
            ConfigurationError: they do not; says which.
        """
        for read in (self.origins, self.delay, self.age):
            read()
        if not 1 <= self.max_depth <= 100_000 or not 0 <= self.require_depth <= self.max_depth:
            raise ConfigurationError(
                "verify-provenance: max_depth is 1 to 100000, and require_depth 0 to max_depth"
            )
        if self.published is None and (self.published_key or self.published_signature):
            raise ConfigurationError(
                "verify-provenance: published_key and published_signature are about the file "
                "that published names, and it names none"
            )
        if self.published_signature and not self.published_key:
            raise ConfigurationError(
                "verify-provenance: published_signature is given, and no published_key",
                next_step="without the publisher's key a signature proves nothing",
            )


def _duration(option: str, text: str | None) -> timedelta | None:
    if text is None:
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ConfigurationError(
            f"verify-provenance: {option} is a duration such as 12h, 7d or 2w, not {text!r}"
        )
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
