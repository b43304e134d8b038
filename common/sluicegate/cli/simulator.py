"""AWS for development: moto's server on this machine, over TLS and in plain text.

moto ignores the conditions of bucket policies: the usual "deny plain HTTP" would refuse
HTTPS as well. Here conditions on the transport and on the headers of server-side encryption
are honoured, so that such a bucket can be used over the one address and not over the other.
What else moto does not do as AWS does stands in ``docs/encryption.md``. Not for production:
it believes every signature.
"""

from __future__ import annotations

import ipaddress
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sluicegate.errors import MissingExtraError
from sluicegate.stages.encryption.iam import parse_policy
from sluicegate.stages.encryption.iam.operators import pattern_of

__all__ = ["SimulatedAws", "simulate_aws"]

_HOST: Final = "127.0.0.1"
_DAYS: Final = 30
"""How long the certificate lasts: longer than any check wants, shorter than anyone relies on."""


@dataclass(frozen=True, slots=True)
class SimulatedAws:
    """A running simulation."""

    secure: str
    """Its address over TLS."""
    plain: str
    """Its address in plain text."""
    ca_bundle: Path
    """The certificate to trust."""

    def environment(self, *, secure: bool = True) -> Mapping[str, str]:
        """Return what points AWS clients at it, and at nothing else."""
        return {
            "AWS_ENDPOINT_URL": self.secure if secure else self.plain,
            "AWS_CA_BUNDLE": str(self.ca_bundle),
            "AWS_ACCESS_KEY_ID": "simulated",
            "AWS_SECRET_ACCESS_KEY": "simulated",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def client(self, service: str, *, secure: bool = True) -> Any:
        """Return a boto3 client of it, whatever the process is configured for."""
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.secure if secure else self.plain,
            verify=str(self.ca_bundle),
            region_name="us-east-1",
            aws_access_key_id="simulated",
            aws_secret_access_key="simulated",  # noqa: S106  of a simulation
        )


@contextmanager
def simulate_aws(folder: Path) -> Iterator[SimulatedAws]:
    """Run a simulated AWS; it forgets everything at the end.

    Args:
        folder: where its certificate is put.

    Raises:
        MissingExtraError: moto is not installed.
    """
    try:
        from moto.moto_api._internal.models import moto_api_backend
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server
    except ImportError as error:
        raise MissingExtraError("moto", "simulator", "a simulated AWS") from error

    class Quiet(WSGIRequestHandler):
        def log(self, type: str, message: str, *args: Any) -> None:
            """Say nothing."""

    certificate, key = _certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    application = DomainDispatcherApplication(create_backend_app)
    with _conditions():
        servers = [
            make_server(
                _HOST, 0, application, threaded=True, request_handler=Quiet, ssl_context=one
            )
            for one in (context, None)
        ]
        threads = [threading.Thread(target=one.serve_forever, daemon=True) for one in servers]
        try:
            for thread in threads:
                thread.start()
            yield SimulatedAws(
                f"https://{_HOST}:{servers[0].port}",
                f"http://{_HOST}:{servers[1].port}",
                certificate,
            )
        finally:
            for server, thread in zip(servers, threads, strict=True):
                server.shutdown()
                thread.join()
                server.server_close()
            moto_api_backend.reset()  # its state is the process's, not the server's


@contextmanager
def _conditions() -> Iterator[None]:
    """Let moto look at the conditions of bucket policies that are about what it can know."""
    from moto.iam import access_control
    from moto.s3.responses import S3Response

    statement: Any = access_control.IAMPolicyStatement
    response: Any = S3Response
    permitted, set_up = statement.is_action_permitted, response.setup_class
    here = threading.local()

    def is_action_permitted(self: Any, *args: Any, **options: Any) -> Any:
        if not _applies(self._statement, here.context):
            return access_control.PermissionResult.NEUTRAL
        return permitted(self, *args, **options)

    def setup_class(self: Any, request: Any, *args: Any, **options: Any) -> Any:
        here.context = _context(str(request.url), request.headers)
        return set_up(self, request, *args, **options)

    statement.is_action_permitted = is_action_permitted
    response.setup_class = setup_class
    try:
        yield
    finally:
        statement.is_action_permitted, response.setup_class = permitted, set_up


def _context(url: str, headers: Mapping[str, str]) -> dict[str, str | None]:
    """Return the condition keys that a request shows, in lower case."""
    secure = url.startswith("https")
    shown = {f"s3:{name}": headers.get(name) for name in _HEADERS}
    return {
        "aws:securetransport": "true" if secure else "false",
        "s3:tlsversion": "1.3" if secure else None,
        **shown,
    }


_HEADERS: Final = (
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
)


def _applies(statement: Mapping[str, Any], context: Mapping[str, str | None]) -> bool:
    """Return whether a statement's conditions hold, as far as the context knows its keys."""
    (parsed,) = parse_policy({"Version": "2012-10-17", "Statement": statement}).statements
    for condition in parsed.conditions:
        if condition.key in context:
            value = context[condition.key]
            wanted = [pattern_of(condition.operator, text) for text in condition.values]
            if not condition.operator.holds(None if value is None else (value,), wanted):
                return False
    return True


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for this machine, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "simulated AWS")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address(_HOST)), x509.DNSName("localhost")]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    certificate, private = folder / "simulated-aws.pem", folder / "simulated-aws.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.touch(mode=0o600)
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, private
