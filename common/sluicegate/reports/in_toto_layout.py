"""A chain as an in-toto layout with one link for each step, for ``in-toto-verify``.

The layout says which steps there are and that each must use what an earlier one made; the
links say what was used and made. Names of artifacts and steps follow from URIs and
activities and not from digests, so the layout of one run also judges the links of the next.

The receipts were signed by the keys of gates and sessions, over other bytes. A link cannot
carry those signatures: **layout and links are signed by whoever exports**, and prove no more
than that key is worth. The digests that they name can be compared with the receipts.

A rule ``MATCH`` alone passes when a link records no such material at all; so each is
preceded by ``REQUIRE``.

Source: in-toto specification 1.0 (sections 4.3 and 4.4); DSSE 1.0.2; securesystemslib for the
form of keys and their ids.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import quote

from sluicegate.canonical import Digest, Json
from sluicegate.errors import ConfigurationError
from sluicegate.receipts.bundle import PAYLOAD_TYPE, pre_authentication_encoding
from sluicegate.receipts.keys import PublicKey, Signer
from sluicegate.receipts.lineage import Chain, Link
from sluicegate.receipts.statement import Subject
from sluicegate.receipts.statements.frame import write_time

__all__ = ["LAYOUT_FILE", "in_toto_files", "in_toto_key"]

LAYOUT_FILE: Final = "root.layout"
_SCHEME: Final = "ecdsa-sha2-nistp256"
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST: Final = 80
"""Longest name of a step in characters: it becomes part of a file name."""
_KEY_ID_IN_NAME: Final = 8
"""How many digits of the key's id stand in a link's file name, as in-toto has it."""


def in_toto_key(key: PublicKey) -> tuple[str, dict[str, Json]]:
    """Return the id that in-toto gives to a key, and the key as layouts list it."""
    pem = key.pem.decode()
    # Canonical JSON of the older kind (OLPC), in which line ends stand as they are.
    canonical = f'{{"keytype":"ecdsa","keyval":{{"public":"{pem}"}},"scheme":"{_SCHEME}"}}'
    key_id = hashlib.sha256(canonical.encode()).hexdigest()
    value: dict[str, Json] = {
        "keyid": key_id,
        "keytype": "ecdsa",
        "scheme": _SCHEME,
        "keyval": {"public": pem},
    }
    return key_id, value


def in_toto_files(chain: Chain, signer: Signer, *, expires: datetime) -> dict[str, bytes]:
    """Return the files by name: :data:`LAYOUT_FILE`, and one link for each step.

    Args:
        chain: what to export. What is wrong with it is exported, too: a verifier refuses it.
        signer: signs everything; its key is the only functionary of the layout.
        expires: until when the layout holds.

    Raises:
        ConfigurationError: two inputs of one step have the same URI, by which artifacts are
            told apart.
    """
    key_id, key = in_toto_key(signer.public_key)
    names = _step_names(chain)
    links = sorted(chain.links.values(), key=lambda link: link.record.index)
    layout = {
        "_type": "layout",
        "steps": [_step(link, names, key_id) for link in links],
        "inspect": [],
        "keys": {key_id: key},
        "expires": write_time(expires),
        "readme": "Exported from receipts of sluicegate. Signed by the exporter: the receipts "
        "themselves were signed by other keys.",
    }
    files = {LAYOUT_FILE: _sign(layout, signer, key_id)}
    for link in links:
        name = names[link.subject.digest]
        files[f"{name}.{key_id[:_KEY_ID_IN_NAME]}.link"] = _sign(_link(link, name), signer, key_id)
    return files


def _step_names(chain: Chain) -> dict[Digest, str]:
    """Return a name for each step that does not depend on digests."""
    names: dict[Digest, str] = {}
    taken: dict[str, int] = {}
    for link in sorted(chain.links.values(), key=lambda link: link.record.index):
        plain = _UNSAFE.sub("-", f"{link.activity}-{link.subject.name}")[:_LONGEST]
        taken[plain] = taken.get(plain, 0) + 1
        number = taken[plain]
        names[link.subject.digest] = plain if number == 1 else f"{plain}~{number}"
    return names


def _step(link: Link, names: Mapping[Digest, str], key_id: str) -> dict[str, Json]:
    materials: list[Json] = []
    for item in link.inputs:
        materials.append(["REQUIRE", _artifact(item)])
        if step := names.get(item.digest):
            materials.append(["MATCH", _artifact(item), "WITH", "PRODUCTS", "FROM", step])
        # What nobody made is matched by nothing, and falls to DISALLOW.
    product = _artifact(link.subject)
    return {
        "_type": "step",
        "name": names[link.subject.digest],
        "expected_materials": [*materials, ["DISALLOW", "*"]],
        "expected_products": [
            ["REQUIRE", product],
            ["ALLOW", product],
            ["DISALLOW", "*"],
        ],
        "pubkeys": [key_id],
        "expected_command": [],
        "threshold": 1,
    }


def _link(link: Link, name: str) -> dict[str, Json]:
    materials = {_artifact(item): _hashes(item) for item in link.inputs}
    if len(materials) != len(link.inputs):
        raise ConfigurationError(
            f"the step {name} has two inputs with one URI, which in-toto cannot tell apart",
            next_step="keep versions under different URIs, or export another format",
        )
    return {
        "_type": "link",
        "name": name,
        "command": [],
        "materials": materials,
        "products": {_artifact(link.subject): _hashes(link.subject)},
        "byproducts": {
            "receipt": {"sha256": link.record.digest.hex, "ledger_index": link.record.index}
        },
        "environment": {},
    }


def _hashes(subject: Subject) -> dict[str, Json]:
    """Return all digests: in-toto compares them as a whole."""
    return {
        "sha256": subject.sha256.hex,
        "dirHash1": subject.dir_hash,
        "merkleRoot": subject.digest.hex,
    }


def _artifact(subject: Subject) -> str:
    """Return a relative path that stands for a URI.

    Verifiers normalise paths, and read rules as patterns: quoting leaves no wildcard.
    """
    scheme, _, path = (subject.uri or f"name://{subject.name}").partition("://")
    return f"{scheme}/{quote(path.lstrip('/'), safe='/._-')}"


def _sign(value: Mapping[str, Json], signer: Signer, key_id: str) -> bytes:
    payload = json.dumps(value, sort_keys=True).encode()
    signature = signer.sign(pre_authentication_encoding(payload))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": key_id, "sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(envelope, sort_keys=True).encode()
