"""Bytes to and from servers, in bounded time and size, whatever a server does.

Every step has a deadline of its own and shares one of the whole server, so a server that
sends a byte a second is left as soon as one that is silent. What goes wrong on the way is
one of two: nothing could be learnt (:class:`NoAnswerError`), or the server ended the
connection (:class:`ClosedError`), which can be an answer.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self, TypeVar

__all__ = ["ClosedError", "Link", "NoAnswerError", "Route", "bounded"]

T = TypeVar("T")

_ADDRESSES: Final = 4
"""Addresses of one name that are tried: IPv4 and IPv6 of two machines."""

BUDGET_STEPS: Final = 10
"""Time for one server in all, in units of the timeout of one step."""


class NoAnswerError(Exception):
    """Nothing could be learnt. The text says why, without addresses, times and data."""


class ClosedError(NoAnswerError):
    """The server ended the connection."""


def bounded(call: Callable[[], T], seconds: float) -> T:
    """Make a call that may hang, such as a look-up of a name, and wait for it.

    A call that hangs is left behind in a thread that does not keep the process alive.

    Args:
        call: what to do.
        seconds: to wait at most.

    Raises:
        NoAnswerError: no result in time.
        OSError: as the call raises it, and whatever else it raises.
    """
    results: queue.SimpleQueue[tuple[T, None] | tuple[None, BaseException]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((call(), None))
        except BaseException as error:  # noqa: BLE001  handed to the caller
            results.put((None, error))

    threading.Thread(target=run, daemon=True, name="sluicegate-bounded").start()
    try:
        value, error = results.get(timeout=max(seconds, 0.001))
    except queue.Empty:
        raise NoAnswerError("no answer within the timeout") from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]  # one of the two is always there


@dataclass(slots=True)
class Route:
    """The way to one server, and the time that is left for it."""

    host: str
    port: int
    timeout: float
    """Seconds for one step."""
    _end: float = field(init=False)
    _addresses: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._end = time.monotonic() + BUDGET_STEPS * self.timeout

    def seconds(self) -> float:
        """Return the seconds that the next step may take.

        Raises:
            NoAnswerError: the time for this server is over.
        """
        left = min(self.timeout, self._end - time.monotonic())
        if left <= 0:
            raise NoAnswerError("the time for this server is over")
        return left

    def open(self) -> Link:
        """Connect.

        Raises:
            ClosedError: the server ended the connection at once.
            NoAnswerError: no such name, refused, unreachable, too late.
        """
        error: OSError | None = None
        for address in self._resolved():
            try:
                raw = socket.create_connection((address, self.port), self.seconds())
            except OSError as problem:
                error = problem
            else:
                self._addresses = [address]  # later questions go to the same machine
                return Link(raw, self)
        if isinstance(error, _GONE):
            raise _sorted(error)
        raise NoAnswerError(f"TCP connect: {_words(error)}")

    def _resolved(self) -> list[str]:
        if not self._addresses:
            try:
                found = bounded(self._look_up, self.seconds())
            except (socket.gaierror, UnicodeError):
                raise NoAnswerError("the host name is not known") from None
            self._addresses = list(dict.fromkeys(found))[:_ADDRESSES]
        return self._addresses

    def _look_up(self) -> list[str]:
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        return [str(item[4][0]) for item in found]


class Link:
    """One connection; closes itself as a context manager."""

    def __init__(self, raw: socket.socket, route: Route) -> None:
        self.raw = raw
        self._route = route

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.raw.close()

    def arm(self) -> None:
        """Set the socket's timeout to what the next step may take."""
        self.raw.settimeout(self._route.seconds())

    def send(self, data: bytes) -> None:
        """Send all bytes.

        Raises:
            NoAnswerError: the server does not take them, or is gone.
        """
        self.arm()
        try:
            self.raw.sendall(data)
        except OSError as error:
            raise _sorted(error) from None

    def exactly(self, count: int, deadline: float | None = None) -> bytes:
        """Return exactly so many bytes, as one step.

        Raises:
            ClosedError: the server ended the connection before.
            NoAnswerError: they did not come in time.
        """
        deadline = deadline if deadline is not None else self.deadline()
        data = bytearray()
        while len(data) < count:
            data += self._receive(count - len(data), deadline)
        return bytes(data)

    def some(self, limit: int) -> bytes:
        """Return what comes first, at most ``limit`` bytes.

        Raises:
            ClosedError: the server ended the connection instead.
            NoAnswerError: nothing came in time.
        """
        return self._receive(limit, self.deadline())

    def line(self, limit: int, deadline: float) -> bytes:
        """Return one line without its end, read byte by byte: nothing behind it is taken.

        Raises:
            ClosedError: the server ended the connection before.
            NoAnswerError: too long or too late.
        """
        data = bytearray()
        while len(data) < limit:
            data += self._receive(1, deadline)
            if data.endswith(b"\n"):
                return bytes(data).rstrip(b"\r\n")
        raise NoAnswerError("a line of the answer is too long")

    def deadline(self) -> float:
        """Return when a step that begins now must have ended, on the monotonic clock."""
        return time.monotonic() + self._route.seconds()

    def _receive(self, limit: int, deadline: float) -> bytes:
        left = deadline - time.monotonic()
        if left <= 0:
            raise NoAnswerError("no answer within the timeout")
        self.raw.settimeout(left)
        try:
            data = self.raw.recv(limit)
        except OSError as error:
            raise _sorted(error) from None
        if not data:
            raise ClosedError("the server closed the connection")
        return data


_GONE: Final = (ConnectionResetError, BrokenPipeError, ConnectionAbortedError)
"""What a socket raises when the other side is no more."""


def _sorted(error: OSError) -> NoAnswerError:
    """Return the error of this module for an error of a socket."""
    if isinstance(error, _GONE):
        return ClosedError("the server closed the connection")
    return NoAnswerError(_words(error))


def _words(error: OSError | None) -> str:
    """Return what is wrong, without addresses."""
    if isinstance(error, TimeoutError):
        return "no answer within the timeout"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    return (error.strerror or type(error).__name__) if error is not None else "no address"
