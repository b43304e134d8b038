"""The HTTP side of a witness: one address to post checkpoints to, with limits on everything.

It listens on this machine only. To the outside belongs a reverse proxy that speaks TLS, which
the specification leaves open and which operators have anyway.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from sluicegate.errors import ConfigurationError, LedgerError
from sluicegate.ledger.witness import MAX_REQUEST_BYTES, Answer, Witness

__all__ = ["WitnessServer"]

_PATH: Final = "/add-checkpoint"
_SILENCE_SECONDS: Final = 10
"""Longest pause between two bytes of a request."""
_CONNECTION_SECONDS: Final = 60
"""Longest life of a connection, however busy: nobody can hold a place for ever."""
_CONNECTIONS: Final = 32
"""At the same time; more are closed at once. A log needs one a checkpoint."""


class WitnessServer(ThreadingHTTPServer):
    """Serves a witness until :meth:`shutdown`."""

    daemon_threads = True

    def __init__(self, witness: Witness, host: str, port: int) -> None:
        """Listen on a loopback address; port 0 takes a free one.

        Raises:
            ConfigurationError: another address, or it cannot be listened on.
        """
        try:
            loopback = ipaddress.ip_address(host).is_loopback
        except ValueError:
            loopback = False
        if not loopback:
            raise ConfigurationError(
                f"a witness listens on this machine, such as 127.0.0.1:0, not on {host!r}",
                next_step="put a reverse proxy that speaks https in front of it",
            )
        self.witness = witness
        self._places = threading.BoundedSemaphore(_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}") from error

    @property
    def url(self) -> str:
        """Where it listens: the submission prefix of tlog-witness."""
        host, port = self.server_address[:2]
        name = str(host)
        return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection if there is a place for it."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection for a limited time, then give its place back."""
        timer = threading.Timer(_CONNECTION_SECONDS, _hang_up, [request])
        timer.daemon = True
        timer.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            timer.cancel()
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that hung up is no error of the witness."""


class _Handler(BaseHTTPRequestHandler):
    server: WitnessServer
    protocol_version = "HTTP/1.1"
    server_version = "sluicegate-witness"
    sys_version = ""
    timeout = _SILENCE_SECONDS

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if self.path != _PATH:
            self._answer(Answer(status=404, body="post to /add-checkpoint\n"), close=True)
        elif not length.isdecimal() or "Transfer-Encoding" in self.headers:
            self._answer(Answer(status=411, body="a length is required\n"), close=True)
        elif len(length) > 9 or int(length) > MAX_REQUEST_BYTES:
            self._answer(Answer(status=413, body="too long\n"), close=True)
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                self._answer(self._ask(body))

    def _ask(self, body: bytes) -> Answer:
        try:
            return self.server.witness.add_checkpoint(body)
        except LedgerError:
            return Answer(status=500, body="the witness cannot sign now\n")

    def _answer(self, answer: Answer, *, close: bool = False) -> None:
        content = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.media_type)
        self.send_header("Content-Length", str(len(content)))
        if close:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Write no log: what counts is in the state."""


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is closed already
