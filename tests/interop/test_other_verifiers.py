"""The receipts of every gate verify with tools that are not ours."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from sluicegate.cli.pipelines import forge_verdict
from sluicegate.evidence import Evidence
from sluicegate.gate import run_gate
from tests.scenes import FlagNegatives

HERE = Path(__file__).parent


@pytest.fixture
def receipts(scene):
    """Return the files of a verdict and of a derivation."""
    run_gate(FlagNegatives(), scene.write_data([1, 2, -3, 4, 5]), scene.policy)
    run_gate(FlagNegatives(), scene.write_data([1, 2, 3]), scene.policy)
    evidence = Evidence(scene.evidence)
    return [evidence.receipt_path(ref.digest) for ref, _ in evidence.receipts()]


def payload_of(path):
    return json.loads(base64.b64decode(json.loads(path.read_text())["dsseEnvelope"]["payload"]))


# -- securesystemslib -----------------------------------------------------------------------


def verify_with_securesystemslib(path, scene):
    envelope = json.loads(path.read_text())["dsseEnvelope"]
    public = load_pem_public_key((scene.folder / "keys/gates.pub.pem").read_bytes())
    key = SSlibKey.from_crypto(public)
    signature = {**envelope["signatures"][0], "keyid": key.keyid}
    return Envelope.from_dict({**envelope, "signatures": [signature]}).verify([key], 1)


def test_securesystemslib_verifies_every_receipt(scene, receipts):
    assert len(receipts) == 3
    for path in receipts:
        assert len(verify_with_securesystemslib(path, scene)) == 1


def test_securesystemslib_refuses_an_edited_receipt(scene, receipts):
    receipts[0].write_bytes(forge_verdict(receipts[0].read_bytes()))
    with pytest.raises(VerificationError):
        verify_with_securesystemslib(receipts[0], scene)


# -- in-toto --------------------------------------------------------------------------------


def test_the_statements_are_valid_in_toto_statements(receipts):
    for path in receipts:
        parsed = json_format.ParseDict(payload_of(path), statement_pb2.Statement())
        Statement.copy_from_pb(parsed).validate()


def test_the_predicates_parse_strictly_as_what_they_claim_to_be(receipts):
    kinds = {
        "https://in-toto.io/attestation/test-result/v0.1": test_result_pb2.TestResult,
        "https://slsa.dev/provenance/v1": provenance_pb2.Provenance,
    }
    seen = set()
    for path in receipts:
        statement = payload_of(path)
        seen.add(statement["predicateType"])
        json_format.ParseDict(statement["predicate"], kinds[statement["predicateType"]]())
    assert seen == set(kinds)


def test_what_is_signed_fits_into_a_key_management_service(receipts):
    """AWS KMS signs raw messages of at most 4096 bytes."""
    for path in receipts:
        envelope = json.loads(path.read_text())["dsseEnvelope"]
        assert len(base64.b64decode(envelope["payload"])) < 4000


def test_the_hint_is_what_sha256sum_says_of_the_public_key_file(scene, receipts):
    digest = hashlib.sha256((scene.folder / "keys/gates.pub.pem").read_bytes()).hexdigest()
    bundle = json.loads(receipts[0].read_text())
    assert bundle["verificationMaterial"]["publicKey"]["hint"] == digest


def test_the_subject_of_a_file_is_what_sha256sum_says_of_it(scene, receipts):
    digest = hashlib.sha256(scene.data.read_bytes()).hexdigest()
    assert payload_of(receipts[-1])["subject"][0]["digest"]["sha256"] == digest


# -- sigstore-js ----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def sigstore(tmp_path_factory):
    """Return a folder with @sigstore/verify installed from the lock file."""
    if shutil.which("npm") is None:
        if os.environ.get("CI"):
            pytest.fail("npm is missing: run scripts/install-debian-packages.sh")
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("sigstore")
    for name in ("package.json", "package-lock.json", ".npmrc", "verify.mjs"):
        shutil.copy(HERE / name, folder / name)
    subprocess.run(
        ["npm", "ci", "--ignore-scripts"], cwd=folder, check=True, capture_output=True, timeout=300
    )
    return folder


def verify_with_sigstore(folder, bundle, key):
    return subprocess.run(
        ["node", "verify.mjs", str(bundle), str(key)], cwd=folder, capture_output=True, timeout=60
    )


def test_sigstore_js_verifies_every_receipt(scene, receipts, sigstore):
    for path in receipts:
        result = verify_with_sigstore(sigstore, path, scene.folder / "keys/gates.pub.pem")
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout) == payload_of(path)


def test_sigstore_js_refuses_an_edited_receipt_and_another_key(scene, receipts, sigstore):
    scene.other_key("mallory")
    result = verify_with_sigstore(sigstore, receipts[0], scene.folder / "keys/mallory.pub.pem")
    assert b"SIGNATURE_ERROR" in result.stderr
    receipts[0].write_bytes(forge_verdict(receipts[0].read_bytes()))
    result = verify_with_sigstore(sigstore, receipts[0], scene.folder / "keys/gates.pub.pem")
    assert b"SIGNATURE_ERROR" in result.stderr
