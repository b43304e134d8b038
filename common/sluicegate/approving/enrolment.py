"""Who may confirm an approval how, and what of it was used up.

One sealed file for the secrets and the state: a state of its own could be deleted, and with it
the memory of what was used. Every attempt, right or wrong, is written before its answer is
known to anybody, under a lock that all processes share; so one code is good for one approval,
however many processes are given it at once.

What an older copy of this file, put back, makes possible is stopped elsewhere: the same code
gives the same :attr:`Factor.digest`, and consumers count it once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sluicegate.approving.attempts import Approver, Factor, check_attempt, use_assertion, use_code
from sluicegate.approving.sealed import SealedFile
from sluicegate.approving.totp import TotpSecret
from sluicegate.approving.webauthn import WebAuthnCredential
from sluicegate.canonical import Json
from sluicegate.errors import ClearanceRefused, ConfigurationError, KeyFileError
from sluicegate.policy.model import Policy
from sluicegate.signing import key_password

__all__ = ["ApproverBook"]

PATH_VARIABLE: Final = "SLUICEGATE_APPROVERS"
"""Names the file, where it is not to lie among the evidence."""
_MOST_APPROVERS: Final = 1000
_MOST_KEYS: Final = 10
"""Security keys of one person."""


@dataclass(frozen=True, slots=True)
class ApproverBook:
    """The file of approvers."""

    file: SealedFile

    @classmethod
    def of(cls, policy: Policy) -> ApproverBook:
        """Return the book that belongs to a policy.

        Raises:
            KeyFileError: the password file that the environment names cannot be read.
        """
        named = os.environ.get(PATH_VARIABLE)
        path = Path(named) if named else policy.evidence / "keys" / "approvers.json"
        return cls(SealedFile(path, key_password()))

    def approvers(self) -> tuple[Approver, ...]:
        """Return everybody who is enrolled, by name; with their secrets.

        Raises:
            KeyFileError: the file cannot be opened, or was changed.
        """
        if not self.file.exists():
            return ()
        return tuple(people for _, people in sorted(self._read().items()))

    def find(self, name: str) -> Approver:
        """Return one approver.

        Raises:
            ClearanceRefused: nobody of this name is enrolled.
            KeyFileError: the file cannot be opened, or was changed.
        """
        return _find(self._read(), name)

    def enrol_totp(self, name: str, *, algorithm: str = "SHA1") -> TotpSecret:
        """Make a secret for an authenticator app; the only time that it is shown.

        Raises:
            ConfigurationError: they have one already, or the name is not usable.
            KeyFileError: the file cannot be opened or written.
        """
        secret = TotpSecret.new(algorithm)
        with self._changing(name) as (people, approver):
            if approver.totp is not None:
                raise ConfigurationError(
                    f"{name} has an authenticator app already",
                    next_step=f"`sluicegate approvers remove {name}` first, if it is lost",
                )
            people[name] = replace(approver, totp=secret)
        return secret

    def enrol_webauthn(self, name: str, credential: WebAuthnCredential) -> None:
        """Add a security key that was registered.

        Raises:
            ConfigurationError: somebody has this key already, or they have too many.
            KeyFileError: the file cannot be opened or written.
        """
        with self._changing(name) as (people, approver):
            if any(key.id == credential.id for one in people.values() for key in one.keys):
                raise ConfigurationError("this security key is enrolled already")
            if len(approver.keys) >= _MOST_KEYS:
                raise ConfigurationError(f"{name} has {_MOST_KEYS} security keys already")
            people[name] = replace(approver, keys=(*approver.keys, credential))

    def remove(self, name: str) -> None:
        """Forget an approver, with every factor of theirs.

        Raises:
            ClearanceRefused: nobody of this name is enrolled.
            KeyFileError: the file cannot be opened or written.
        """
        with self.file.locked():
            people = self._read()
            _find(people, name)
            del people[name]
            self._write(people)

    def confirm_code(self, name: str, code: str, *, now: datetime) -> Factor:
        """Use up the code of an authenticator app.

        Args:
            name: of the approver.
            code: what they typed.
            now: the instant of the attempt.

        Raises:
            ClearanceRefused: wrong, used before, too many attempts, or the clock was set back.
            KeyFileError: the file cannot be opened or written, or was changed.
        """
        with self.file.locked():
            people = self._read()
            approver = _find(people, name)
            check_attempt(approver, now)
            after, answer = use_code(approver, code, now)
            self._write({**people, name: after})
        return _factor_or_refuse(answer)

    def confirm_assertion(
        self, name: str, assertion: Mapping[str, Any], *, question: Json, now: datetime
    ) -> Factor:
        """Use up the assertion of a security key.

        Args:
            name: of the approver.
            assertion: what the browser or the key answered.
            question: what was asked; see :func:`challenge_of`.
            now: the instant of the attempt.

        Raises:
            ClearanceRefused: does not verify, used before, too many attempts, a counter that
                did not grow, or the clock was set back.
            KeyFileError: the file cannot be opened or written, or was changed.
            MissingExtraError: ``fido2`` is not installed.
        """
        with self.file.locked():
            people = self._read()
            approver = _find(people, name)
            check_attempt(approver, now)
            after, answer = use_assertion(approver, assertion, question, now)
            self._write({**people, name: after})
        return _factor_or_refuse(answer)

    @contextmanager
    def _changing(self, name: str) -> Iterator[tuple[dict[str, Approver], Approver]]:
        """Hold the file while one approver's factors change; write it if all went well."""
        _check_name(name)
        with self.file.locked():
            people = self._read() if self.file.exists() else {}
            if name not in people and len(people) >= _MOST_APPROVERS:
                raise ConfigurationError(f"{self.file.path} has {_MOST_APPROVERS} approvers")
            yield people, people.get(name, Approver(name=name))
            self._write(people)

    def _read(self) -> dict[str, Approver]:
        value = self.file.read()
        try:
            people = [Approver.from_json(item) for item in value["approvers"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise KeyFileError(f"{self.file.path} is not a file of approvers") from error
        return {approver.name: approver for approver in people}

    def _write(self, people: Mapping[str, Approver]) -> None:
        value: Json = {"approvers": [people[name].to_json() for name in sorted(people)]}
        self.file.write(value)


def _find(people: Mapping[str, Approver], name: str) -> Approver:
    if name not in people:
        raise ClearanceRefused(
            f"{name} is not enrolled",
            next_step=f"`sluicegate approvers enrol {name} --totp`, where approvals are signed",
        )
    return people[name]


def _factor_or_refuse(answer: Factor | str) -> Factor:
    if isinstance(answer, str):
        raise ClearanceRefused(answer, next_step="wait for the next code, or ask again")
    return answer


def _check_name(name: str) -> None:
    """Return if a name can be told apart from others by eye and in a URI."""
    plain = name.isascii() and name.isprintable() and name == name.strip()
    if not plain or not 1 <= len(name) <= 100 or set(name) & set(":/\\\"'"):
        raise ConfigurationError(
            "an approver's name is 1 to 100 printable ASCII characters, without quotes, "
            "colons and slashes",
            next_step="use the name that the policy has under `approvals.by`, e.g. an address",
        )
