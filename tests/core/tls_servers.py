"""Real servers for tests of what is in transit: certificates, TLS, and what goes wrong.

Every server listens on 127.0.0.1 (or ::1) in a thread, and ends with its ``with`` block.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import struct
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Made:
    """A certificate with its key, and what issued it."""

    certificate: x509.Certificate
    key: object
    above: tuple[x509.Certificate, ...] = ()
    """Intermediate certificates from the issuer up, without the root."""

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def chain(self) -> str:
        parts = (self.certificate, *self.above)
        return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in parts)

    def key_pem(self) -> str:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ).decode()


def new_key(bits=0):
    """Return an elliptic-curve key, or an RSA key of so many bits."""
    if bits:
        return rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return ec.generate_private_key(ec.SECP256R1())


def issue(
    name,
    issuer=None,
    *,
    ca=False,
    names=("localhost",),
    addresses=("127.0.0.1",),
    since=NOW - 2 * DAY,
    until=NOW + 90 * DAY,
    key=None,
    digest=None,
    usage=ExtendedKeyUsageOID.SERVER_AUTH,
    root=False,
):
    """Make a certificate; without an issuer it signs itself."""
    key = key or new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    by = issuer.certificate.subject if issuer else subject
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, key_encipherment=not ca, key_cert_sign=ca, crl_sign=ca,
                content_commitment=False, data_encipherment=False, key_agreement=False,
                encipher_only=False, decipher_only=False,
            ),
            critical=True,
        )
    )  # fmt: skip
    if not ca:
        entries = [x509.DNSName(one) for one in names]
        entries += [x509.IPAddress(ipaddress.ip_address(one)) for one in addresses]
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if entries:
            builder = builder.add_extension(x509.SubjectAlternativeName(entries), critical=False)
    made = builder.sign(signer, digest or hashes.SHA256())
    above = ()
    if issuer and not root and issuer.certificate.issuer != issuer.certificate.subject:
        above = (issuer.certificate, *issuer.above)
    return Made(made, key, above)


ROOT = issue("Test Root", ca=True)
MIDDLE = issue("Test Intermediate", ROOT, ca=True)
OTHER_ROOT = issue("Other Root", ca=True)
RSA_LEAF = issue("localhost", ROOT, key=new_key(2048))
LEAF = issue("localhost", ROOT)


def server_context(
    made=LEAF, *, lowest=None, highest=None, ciphers="", chain=None, client=None, alpn=()
):
    """Return a context for servers; ``lowest`` and ``highest`` are TLS versions."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "server.pem"
        path.write_text(made.key_pem() + (made.chain() if chain is None else chain))
        context.set_ciphers(ciphers or "DEFAULT")
        context.load_cert_chain(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = lowest or ssl.TLSVersion.TLSv1_2
        if highest:
            context.maximum_version = highest
    if client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=client)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


@contextlib.contextmanager
def listening(talk: Callable[[socket.socket], None], host="127.0.0.1") -> Iterator[int]:
    """Serve each connection with ``talk`` in its own thread; yield the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, 0))
    listener.listen(64)
    over = threading.Event()

    def serve(raw):
        with raw, contextlib.suppress(OSError, ssl.SSLError, ValueError, IndexError):
            raw.settimeout(10)
            talk(raw)

    def accept():
        while not over.is_set():
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(raw,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def https(context):
    """Return a talk that speaks HTTPS; a plain request is met by a TLS alert."""

    def talk(raw):
        with context.wrap_socket(raw, server_side=True) as secured:
            secured.recv(4096)
            secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    return talk


def plain_http(status="200 OK", headers=""):
    """Return a talk that answers any bytes with plain HTTP."""

    def talk(raw):
        raw.recv(4096)
        raw.sendall(f"HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\n\r\n".encode())

    return talk


def either(secured, plain):
    """Return a talk for a port that takes TLS and plain text: told apart by the first byte."""

    def talk(raw):
        first = raw.recv(1, socket.MSG_PEEK)
        (secured if first == b"\x16" else plain)(raw)

    return talk


def silent(raw):
    """Say nothing until the client goes."""
    with contextlib.suppress(OSError):
        while raw.recv(4096):
            pass


def tarpit(raw):
    """Send a byte now and then that could be the beginning of a long TLS record."""
    for one in b"\x16\x03\x03\x40\x00" + bytes(200):
        raw.sendall(bytes([one]))
        time.sleep(0.15)


def endless(raw):
    """Send TLS records of warnings for ever."""
    while True:
        raw.sendall(b"\x15\x03\x03\x00\x02\x01\x5a" * 1000)


def reset(raw):
    """Reset the connection."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def lines(raw):
    """Yield lines that a client sends."""
    waiting = b""
    while True:
        data = raw.recv(1024)
        if not data:
            return
        waiting += data
        while b"\n" in waiting:
            line, _, waiting = waiting.partition(b"\n")
            yield line.rstrip(b"\r").decode()


def smtp(context=None, *, demands=True, auth=False, works=True, injected=b""):
    """Return a talk of SMTP.

    Args:
        context: with it STARTTLS is offered.
        demands: refuse mails before STARTTLS.
        auth: offer log-in before STARTTLS.
        works: otherwise STARTTLS is offered and then refused.
        injected: bytes that somebody on the way puts behind the answer to STARTTLS.
    """

    def talk(raw):
        raw.sendall(b"220-mail.example.org\r\n220 ready\r\n")
        for line in lines(raw):
            word = line.upper()
            if word.startswith("EHLO"):
                offers = ["mail.example.org", "SIZE 1000"]
                offers += ["STARTTLS"] if context else []
                offers += ["AUTH PLAIN LOGIN"] if auth else []
                text = "".join(f"250-{one}\r\n" for one in offers[:-1])
                raw.sendall(f"{text}250 {offers[-1]}\r\n".encode())
            elif word == "STARTTLS":
                if not works:
                    raw.sendall(b"454 TLS not available\r\n")
                    continue
                raw.sendall(b"220 go ahead\r\n" + injected)
                with context.wrap_socket(raw, server_side=True) as secured:
                    secured.recv(100)
                return
            elif word.startswith("MAIL"):
                raw.sendall(b"530 5.7.0 Must issue STARTTLS\r\n" if demands else b"250 ok\r\n")
            else:
                raw.sendall(b"221 bye\r\n")
                return

    return talk


def redis(raw):
    """Answer PING as Redis does that wants a password."""
    raw.recv(100)
    raw.sendall(b"-NOAUTH Authentication required.\r\n")


def kafka(raw):
    """Answer ApiVersions as a broker does: the request's number, and no versions."""
    request = raw.recv(100)
    answer = request[8:12] + b"\x00\x00\x00\x00\x00\x00"
    raw.sendall(struct.pack("!i", len(answer)) + answer)


def amqp(raw):
    """Answer AMQP's header with the beginning of Connection.Start."""
    raw.recv(100)
    raw.sendall(b"\x01\x00\x00\x00\x00\x01\x00\x00\x0a\x00\x0a")


def mongodb(raw):
    """Answer a command as MongoDB does, with an empty document."""
    request = raw.recv(1000)
    head = struct.pack("<i", 7) + request[4:8] + struct.pack("<i", 2013)
    body = head + bytes(5) + b"\x05\0\0\0\0"
    raw.sendall(struct.pack("<i", len(body) + 4) + body)


def mysql(context=None, *, demands=False, version=b"10.11.0-MariaDB", error=0, late=False):
    """Return a talk of MySQL's connection phase.

    Args:
        context: with it CLIENT_SSL is among the capabilities.
        demands: require_secure_transport, as MariaDB sees to it: before the log-in.
        version: what it calls itself.
        error: greet with this error.
        late: ask for another way to log in, before anything else.
    """

    def packet(number, body):
        return len(body).to_bytes(3, "little") + bytes([number]) + body

    def refuse(number, code):
        return packet(number, b"\xff" + struct.pack("<H", code) + b"#HY000no")

    def talk(raw):
        if error:
            raw.sendall(refuse(0, error))
            return
        low = 0xF7FF | (0x0800 if context else 0)
        raw.sendall(
            packet(
                0,
                b"\x0a" + version + b"\0" + bytes(4) + b"12345678\0" + struct.pack("<H", low)
                + b"\x2d\x02\0\xff\x81\x15" + bytes(10) + b"123456789012\0mysql_native_password\0",
            )
        )  # fmt: skip
        answer = raw.recv(4)
        answer += raw.recv(int.from_bytes(answer[:3], "little"))
        if context and len(answer) == 36:
            with context.wrap_socket(raw, server_side=True) as secured:
                secured.recv(100)
            return
        if demands:
            raw.sendall(refuse(2, 3159))
        elif late:
            raw.sendall(packet(2, b"\xfecaching_sha2_password\0" + b"x" * 20 + b"\0"))
        else:
            raw.sendall(refuse(2, 1045))

    return talk


def chooses(cipher, version=0x0303, group=0):
    """Return a talk of a server that agrees to one cipher suite, whatever OpenSSL can do.

    It sends ServerHello, perhaps a Diffie-Hellman group of so many bits, and ServerHelloDone.
    """

    def message(kind, body):
        return bytes([kind]) + len(body).to_bytes(3, "big") + body

    def talk(raw):
        head = raw.recv(5)
        body = b""
        while len(body) < int.from_bytes(head[3:5], "big"):
            body += raw.recv(4096)
        start = 39 + body[38]
        length = int.from_bytes(body[start : start + 2], "big")
        offered = body[start + 2 : start + 2 + length]
        if version == 0x0300 and len(body) > start + 2 + length + 2:
            raw.sendall(b"\x15\x03\x00\x00\x02\x02\x28")  # SSL 3 has no extensions
            return
        suites = {int.from_bytes(offered[n : n + 2], "big") for n in range(0, length, 2)}
        if cipher not in suites:
            raw.sendall(b"\x15\x03\x03\x00\x02\x02\x28")
            return
        raw.sendall(b"\x15\x03\x03\x00\x02\x01\x70")  # a warning: the name is not known
        hello = struct.pack("!H", version) + bytes(32) + b"\0" + struct.pack("!HB", cipher, 0)
        flight = message(2, hello)
        if group:
            prime = ((1 << group) - 1).to_bytes(group // 8, "big")
            share = b"\x00\x01\x02\x00\x01\x02"
            flight += message(12, struct.pack("!H", len(prime)) + prime + share)
        flight += message(14, b"")
        raw.sendall(struct.pack("!BHH", 22, 0x0303, len(flight)) + flight)
        silent(raw)

    return talk
