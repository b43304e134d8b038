"""Describe Airflow's connections and its own set-up to the core, which redacts and judges.

A task of Airflow 3 has no database: it may ask for connections that it can name, and sees
little of the deployment. What cannot be seen from here is said, not guessed.
"""

from __future__ import annotations

from typing import Any, Final

from sluicegate.errors import SubjectError

__all__ = ["read_connection", "read_deployment"]

_OPTIONS: Final = (
    ("core", "executor"),
    ("core", "fernet_key"),
    ("core", "execution_api_server_url"),
    ("database", "sql_alchemy_conn"),
    ("database", "sql_alchemy_connect_args"),
    ("celery", "broker_url"),
    ("celery", "result_backend"),
    ("api", "ssl_cert"),
    ("api", "base_url"),
    ("logging", "remote_logging"),
    ("logging", "remote_base_log_folder"),
    ("logging", "encrypt_s3_logs"),
)
_NO_DATABASE: Final = "airflow-db-not-allowed:"
"""What Airflow puts in place of the database's URL inside of a task."""


def read_connection(conn_id: str) -> dict[str, Any]:
    """Describe one connection, from whichever secrets backend holds it.

    Outside of a task only connections of the environment and of secrets backends are found,
    as ``airflow.sdk.Connection.get`` does.

    Raises:
        SubjectError: there is no such connection, or Airflow does not give it to this process.
    """
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowException

    try:
        found = Connection.get(conn_id)
    except (AirflowException, ValueError, ImportError) as error:
        raise SubjectError(
            f"Airflow gives this process no connection {conn_id!a}: {type(error).__name__}",
            next_step="define it, or run this in a task: outside of one, connections in "
            "Airflow's database are not visible",
        ) from None
    fields = ("conn_type", "description", "host", "port", "schema", "login", "password", "extra")
    return {
        "kind": "airflow-connection",
        "name": conn_id,
        "fields": {name: getattr(found, name) for name in fields},
        "secret_fields": ["password"],
    }


def read_deployment(name: str) -> dict[str, Any]:
    """Describe Airflow's own set-up, as this process is configured.

    Args:
        name: by convention ``local``; only the set-up of this process can be read.
    """
    from airflow.configuration import conf

    fields: dict[str, dict[str, Any]] = {}
    unseen = {}
    for section, key in _OPTIONS:
        value = conf.get(section, key, fallback=None)
        if isinstance(value, str) and value.startswith(_NO_DATABASE):
            unseen[f"{section}.{key}"] = "tasks of Airflow have no access to the database's URL"
        else:
            fields.setdefault(section, {})[key] = value
    return {
        "kind": "airflow-deployment",
        "name": name,
        "fields": fields,
        "secret_fields": ["core.fernet_key"],
        "unseen": unseen,
    }
