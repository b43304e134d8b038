"""What it means when a service refuses: nothing could be learnt, and why."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Unknown", "refusal"]


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing could be learnt."""

    reason: str
    """For people: which call, and what it answered. Holds no credential."""


def refusal(call: str, status: int, code: str = "", *, takes: str = "") -> Unknown:
    """Say why an answer over HTTP tells nothing.

    Args:
        call: the call in the words of the API.
        status: status of the answer.
        code: the service's own word for the error, if it gave one.
        takes: the permission that the call takes, if that is to be told.
    """
    said = code or str(status)
    if status in (401, 403):
        return Unknown(f"{call}: access denied ({said})" + (f"; it takes {takes}" if takes else ""))
    if status in (404, 410):
        return Unknown(f"{call}: not there, or the endpoint does not know this call ({said})")
    if status in (405, 501):
        return Unknown(f"{call}: the endpoint does not know this call ({said})")
    if status in (429, 503, 504):
        return Unknown(f"{call}: the service did not answer in time ({said})")
    if status >= 500:
        return Unknown(f"{call}: the service failed, or its answer cannot be read ({said})")
    return Unknown(f"{call}: the service answered {said}")
