"""Is what this pipeline reads and writes encrypted, at rest and in transit?

Judged by meaning, not by the presence of a setting: each object is asked how it is stored,
a bucket policy is evaluated instead of searched, a server is spoken to instead of believed.

``question`` says what a check is, ``settings`` what users configure, ``scope`` what a run
knows, ``aws`` how AWS is asked and its refusals are read, ``areas`` which rooms there are:

* ``s3``: objects, buckets, accounts; ``iam``: the policies of buckets and keys;
* ``kms``: keys; ``stores``: other services, Google Cloud Storage and Azure Blob Storage;
* ``transit``: servers that the pipeline names, and what else they would accept;
* ``connections``: what an orchestrator knows of a connection; ``files``: encrypted files
  and volumes; ``foreign``: findings that other tools reported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sluicegate.stages.encryption.stage import CheckEncryption

__all__ = ["CheckEncryption"]


def __getattr__(name: str) -> Any:
    """Import the stage when it is first used: its rooms may be used without it."""
    if name != "CheckEncryption":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("sluicegate.stages.encryption.stage").CheckEncryption
