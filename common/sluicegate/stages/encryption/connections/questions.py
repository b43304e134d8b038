"""The questions that are asked of connections, blocks and orchestrators."""

from __future__ import annotations

from typing import Final

from sluicegate.model import Severity
from sluicegate.stages.encryption.question import Controls, Kind, Question

__all__ = [
    "AIRFLOW_API",
    "AIRFLOW_METADATA",
    "CREDENTIALS",
    "FERNET",
    "PREFECT_API",
    "PREFECT_DATABASE",
    "QUESTIONS",
    "SCHEME",
    "SCOPE",
    "SECRETS",
    "VERIFICATION",
]

_READ: Final = ("airflow.sdk.Connection.get", "Prefect API: read block document")

SCHEME: Final = Question(
    id="encryption.connection_scheme",
    asks="Does the connection speak an encrypted protocol, and insist on it?",
    kind=Kind.IN_TRANSIT,
    severity=Severity.CRITICAL,
    calls=_READ,
    remedy="https instead of http, rediss instead of redis, sslmode=verify-full for PostgreSQL, "
    "security.protocol=SASL_SSL for Kafka",
    controls=Controls(nist=("AC-17(2)",)),
)
VERIFICATION: Final = Question(
    id="encryption.connection_verification",
    asks="Does the connection verify the certificate or host key of its server?",
    kind=Kind.IN_TRANSIT,
    severity=Severity.CRITICAL,
    calls=_READ,
    remedy="remove verify=false and its kin; sslmode=verify-full with sslrootcert; for SSH "
    'no_host_key_check "false" and host_key',
    controls=Controls(nist=("AC-17(2)",)),
)
CREDENTIALS: Final = Question(
    id="encryption.connection_credentials",
    asks="Are the connection's credentials in the fields that are meant for them?",
    kind=Kind.AT_REST,
    severity=Severity.WARNING,
    calls=_READ,
    remedy="airflow connections add ID --conn-password ..., or a secrets backend; in Prefect a "
    "credentials block or a field of type SecretStr",
)
SECRETS: Final = Question(
    id="encryption.connection_secrets",
    asks="Are all secrets in fields that the orchestrator keeps secret?",
    kind=Kind.AT_REST,
    severity=Severity.CRITICAL,
    calls=_READ,
    remedy="replace the secret, then store the new one in the password field, a Secret block or "
    "a secrets backend",
)
SCOPE: Final = Question(
    id="encryption.connection_scope",
    asks="Were all connections looked at that the orchestrator holds?",
    kind=Kind.IN_TRANSIT,
    severity=Severity.INFO,
    remedy="airflow connections list -o json, or prefect block ls, then name each in connections",
)
FERNET: Final = Question(
    id="encryption.airflow_fernet_key",
    asks="Does Airflow encrypt the passwords of connections in its database?",
    kind=Kind.AT_REST,
    severity=Severity.CRITICAL,
    calls=("airflow.configuration.conf.get",),
    remedy="AIRFLOW__CORE__FERNET_KEY from cryptography.fernet.Fernet.generate_key(), then "
    "airflow rotate-fernet-key",
    controls=Controls(nist=("SC-28(1)",)),
)
AIRFLOW_METADATA: Final = Question(
    id="encryption.airflow_metadata_tls",
    asks="Does Airflow reach its metadata database over verified TLS?",
    kind=Kind.IN_TRANSIT,
    severity=Severity.CRITICAL,
    calls=("airflow.configuration.conf.get",),
    remedy="AIRFLOW__DATABASE__SQL_ALCHEMY_CONN with ?sslmode=verify-full&sslrootcert=FILE",
    controls=Controls(nist=("AC-17(2)",)),
)
AIRFLOW_API: Final = Question(
    id="encryption.airflow_api_tls",
    asks="Do workers and people reach Airflow's API server over TLS?",
    kind=Kind.IN_TRANSIT,
    severity=Severity.CRITICAL,
    calls=("airflow.configuration.conf.get",),
    remedy="AIRFLOW__API__SSL_CERT and AIRFLOW__API__SSL_KEY, or a proxy with TLS, and https in "
    "AIRFLOW__API__BASE_URL and AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
    controls=Controls(nist=("AC-17(2)",)),
)
PREFECT_API: Final = Question(
    id="encryption.prefect_api_tls",
    asks="Is Prefect's API reached over verified TLS?",
    kind=Kind.IN_TRANSIT,
    severity=Severity.CRITICAL,
    calls=("prefect.settings",),
    remedy="prefect config set PREFECT_API_URL=https://..., PREFECT_API_SSL_CERT_FILE=FILE; "
    "prefect config unset PREFECT_API_TLS_INSECURE_SKIP_VERIFY",
    controls=Controls(nist=("AC-17(2)",)),
)
PREFECT_DATABASE: Final = Question(
    id="encryption.prefect_database_tls",
    asks="Does Prefect's server reach its database over verified TLS?",
    kind=Kind.IN_TRANSIT,
    severity=Severity.CRITICAL,
    calls=("prefect.settings",),
    remedy="PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS_ENABLED=true with "
    "..._TLS_CA_FILE, and ..._TLS_CHECK_HOSTNAME left on",
    controls=Controls(nist=("AC-17(2)",)),
)
QUESTIONS: Final = (
    SCHEME,
    VERIFICATION,
    CREDENTIALS,
    SECRETS,
    SCOPE,
    FERNET,
    AIRFLOW_METADATA,
    AIRFLOW_API,
    PREFECT_API,
    PREFECT_DATABASE,
)
