"""Keys in AWS KMS: against a simulator, and by stubs for what it does not simulate.

The simulator hashes a digest a second time, signs with disabled keys and knows no denial;
those answers are botocore stubs in the shape of the AWS documentation.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError
from botocore.stub import Stubber
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from sluicegate.errors import (
    ConfigurationError,
    KeyFileError,
    MissingExtraError,
    ReceiptError,
    SluicegateError,
)
from sluicegate.receipts.bundle import Bundle, seal
from sluicegate.receipts.keys import PublicKey
from sluicegate.receipts.signers import load
from sluicegate.receipts.signers.kms import MAX_RAW_BYTES, KmsSigner, parse_location
from tests.aws import moto_server, point_at

UUID = "1234abcd-12ab-34cd-56ef-1234567890ab"
ARN = f"arn:aws:kms:eu-west-1:111122223333:key/{UUID}"


@pytest.fixture(scope="module")
def server():
    with moto_server() as address:
        yield address


@pytest.fixture
def kms(server, monkeypatch, tmp_path):
    point_at(server, monkeypatch, tmp_path, service="KMS")
    return boto3.client("kms")


def new_key(kms, *, spec="ECC_NIST_P256", usage="SIGN_VERIFY"):
    return kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]


def test_signs_a_receipt_that_the_public_key_alone_verifies(kms, monkeypatch):
    signer = load(f"awskms:///{new_key(kms)['Arn']}")
    public = PublicKey(signer.public_key.pem)
    bundle = Bundle.parse(seal(b'{"a": 1}', signer))
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1")  # verifying asks nobody
    assert bundle.hint == public.id
    assert bundle.verify(lambda _: public) == b'{"a": 1}'


def test_key_id_arn_and_alias_name_the_same_key(kms):
    key = new_key(kms)
    kms.create_alias(AliasName="alias/team/gates", TargetKeyId=key["KeyId"])
    region_and_account = key["Arn"].rpartition(":")[0]
    locations = (key["KeyId"], key["Arn"], "alias/team/gates")
    keys = {load(f"awskms:///{name}").public_key.id for name in locations}
    assert len(keys) == 1
    assert parse_location(f"awskms:///{region_and_account}:alias/team/gates")[1] == "us-east-1"


def test_an_alias_that_moves_does_not_change_the_key_of_a_running_process(kms):
    first, second = new_key(kms), new_key(kms)
    kms.create_alias(AliasName="alias/moves", TargetKeyId=first["KeyId"])
    signer = load("awskms:///alias/moves")
    kms.update_alias(AliasName="alias/moves", TargetKeyId=second["KeyId"])
    signer.public_key.verify(signer.sign(b"m"), b"m")
    assert signer.public_key != load("awskms:///alias/moves").public_key


@pytest.mark.parametrize(
    ("spec", "usage"),
    [
        ("ECC_NIST_P384", "SIGN_VERIFY"),
        ("ECC_SECG_P256K1", "SIGN_VERIFY"),
        ("RSA_2048", "SIGN_VERIFY"),
        ("RSA_2048", "ENCRYPT_DECRYPT"),
    ],
)
def test_a_key_of_another_kind_is_refused(kms, spec, usage):
    with pytest.raises(KeyFileError, match="expected ECC_NIST_P256 for SIGN_VERIFY"):
        load(f"awskms:///{new_key(kms, spec=spec, usage=usage)['KeyId']}")


def test_a_missing_key_is_said_to_be_missing(kms):
    with pytest.raises(KeyFileError, match="no such key"):
        load(f"awskms:///{UUID}")


@pytest.mark.parametrize(
    "location",
    [
        "awskms:///",
        "awskms://host/alias/gates",
        "awskms:alias/gates",
        "awskms:///alias/",
        "awskms:///alias/ga tes",
        "awskms:///../alias/gates",
        f"awskms:///{UUID.upper()}",
        f"awskms:///{UUID}?region=eu-west-1",
        f"awskms:///{ARN}/extra",
        f"awskms:///{ARN}\n",
        "awskms:///arn:aws:s3:eu-west-1:111122223333:key/" + UUID,
        "awskms:///arn:aws:kms::111122223333:key/" + UUID,
    ],
)
def test_malformed_locations_are_refused(location):
    with pytest.raises(KeyFileError, match="no key of AWS KMS"):
        parse_location(location)


def test_service_keys_are_refused():
    with pytest.raises(KeyFileError, match="AWS manages"):
        parse_location("awskms:///alias/aws/s3")


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (f"awskms:///{UUID}", (UUID, None)),
        (f"awskms:///mrk-{'0' * 32}", (f"mrk-{'0' * 32}", None)),
        (f"awskms:///{ARN}", (ARN, "eu-west-1")),
        (f"awskms:///{ARN.replace('aws:', 'aws-us-gov:', 1)}", None),
    ],
)
def test_locations_are_read(location, expected):
    found = parse_location(location)
    assert expected is None or found == expected


class Stubbed:
    """A KMS client whose answers are given, and the key behind them."""

    def __init__(self, monkeypatch):
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KMS"):
            monkeypatch.delenv(name, raising=False)
        self.client = boto3.client(
            "kms", "eu-west-1", aws_access_key_id="x", aws_secret_access_key="y"
        )
        self.stub = Stubber(self.client)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.stub.activate()

    def public(self, **changes):
        answer = {
            "KeyId": ARN,
            "KeySpec": "ECC_NIST_P256",
            "KeyUsage": "SIGN_VERIFY",
            "SigningAlgorithms": ["ECDSA_SHA_256"],
            "PublicKey": self.key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
        }
        self.stub.add_response("get_public_key", answer | changes)

    def open(self, name=ARN, **changes):
        self.public(**changes)
        return KmsSigner.open(f"awskms:///{name}", lambda: self.client)

    def signature(self, message, *, sent, kind):
        self.stub.add_response(
            "sign",
            {"KeyId": ARN, "Signature": self.der(message), "SigningAlgorithm": "ECDSA_SHA_256"},
            {
                "KeyId": ARN,
                "Message": sent,
                "MessageType": kind,
                "SigningAlgorithm": "ECDSA_SHA_256",
            },
        )

    def der(self, message):
        digest = hashlib.sha256(message).digest()
        return self.key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))


@pytest.fixture
def stubbed(monkeypatch):
    return Stubbed(monkeypatch)


@pytest.mark.parametrize("size", [MAX_RAW_BYTES - 1, MAX_RAW_BYTES])
def test_a_message_up_to_the_limit_goes_whole(stubbed, size):
    signer, message = stubbed.open(), b"x" * size
    stubbed.signature(message, sent=message, kind="RAW")
    signer.public_key.verify(signer.sign(message), message)
    stubbed.stub.assert_no_pending_responses()


def test_a_longer_message_goes_as_its_digest(stubbed):
    signer, message = stubbed.open(), b"x" * (MAX_RAW_BYTES + 1)
    stubbed.signature(message, sent=hashlib.sha256(message).digest(), kind="DIGEST")
    signer.public_key.verify(signer.sign(message), message)
    stubbed.stub.assert_no_pending_responses()


def test_a_simulator_that_hashes_twice_does_not_get_a_bad_signature_through(kms):
    signer = load(f"awskms:///{new_key(kms)['KeyId']}")
    with pytest.raises(KeyFileError, match="does not verify"):
        signer.sign(b"x" * (MAX_RAW_BYTES + 1))


def test_a_signature_of_another_message_or_key_is_not_handed_out(stubbed):
    signer = stubbed.open()
    stubbed.signature(b"another", sent=b"message", kind="RAW")
    with pytest.raises(KeyFileError, match="does not verify"):
        signer.sign(b"message")
    stubbed.key = ec.generate_private_key(ec.SECP256R1())
    stubbed.signature(b"message", sent=b"message", kind="RAW")
    with pytest.raises(KeyFileError, match="does not verify") as caught:
        signer.sign(b"message")
    assert isinstance(caught.value.__cause__, ReceiptError)


@pytest.mark.parametrize(
    "changes",
    [
        {"KeySpec": "ECC_NIST_P384"},
        {"KeyUsage": "KEY_AGREEMENT"},
        {"SigningAlgorithms": ["ECDSA_SHA_384"]},
        {"PublicKey": b"no key"},
        {"KeyId": ARN.replace("1234abcd", "00000000")},
        {"KeyId": "arn:aws:kms:eu-west-1:111122223333:alias/gates"},
    ],
)
def test_answers_that_do_not_fit_are_refused(stubbed, changes):
    with pytest.raises(KeyFileError):
        stubbed.open(**changes)


def test_an_alias_that_is_not_resolved_is_refused(stubbed):
    with pytest.raises(KeyFileError, match="did not say which key"):
        stubbed.open("alias/gates", KeyId="arn:aws:kms:eu-west-1:111122223333:alias/gates")


def test_a_public_key_on_another_curve_than_said_is_refused(stubbed):
    stubbed.key = ec.generate_private_key(ec.SECP384R1())
    with pytest.raises(KeyFileError, match="P-256"):
        stubbed.open()


def test_an_alias_is_resolved_to_the_arn_that_signs(stubbed):
    signer = stubbed.open("alias/gates")
    assert signer.key_id == ARN
    stubbed.signature(b"m", sent=b"m", kind="RAW")
    signer.sign(b"m")


@pytest.mark.parametrize(
    ("code", "status", "kind", "words"),
    [
        ("AccessDeniedException", 400, KeyFileError, "allow kms:Sign"),
        ("DisabledException", 409, KeyFileError, "disabled"),
        ("KMSInvalidStateException", 409, KeyFileError, "pending deletion"),
        ("NotFoundException", 400, KeyFileError, "no such key"),
        ("InvalidKeyUsageException", 400, KeyFileError, "SIGN_VERIFY"),
        ("SomethingNew", 400, KeyFileError, "SomethingNew"),
        ("ThrottlingException", 400, SluicegateError, "try again"),
        ("DependencyTimeoutException", 503, SluicegateError, "try again"),
        ("KeyUnavailableException", 500, SluicegateError, "try again"),
        ("SomethingNew", 500, SluicegateError, "try again"),
    ],
)
def test_refusals_say_what_and_what_next(stubbed, code, status, kind, words):
    signer = stubbed.open()
    stubbed.stub.add_client_error("sign", code, http_status_code=status)
    with pytest.raises(SluicegateError, match=words) as caught:
        signer.sign(b"m")
    # What a retry may mend is no error of configuration, and the other way round.
    assert isinstance(caught.value, ConfigurationError) == (kind is KeyFileError)
    assert ARN in str(caught.value)


def test_a_denied_public_key_names_its_own_permission(stubbed):
    stubbed.stub.add_client_error("get_public_key", "AccessDeniedException")
    with pytest.raises(KeyFileError, match="allow kms:GetPublicKey"):
        KmsSigner.open(f"awskms:///{ARN}", lambda: stubbed.client)


def test_a_timeout_may_be_retried(stubbed, monkeypatch):
    signer = stubbed.open()

    def silent(**_):
        raise ConnectTimeoutError(endpoint_url="http://127.0.0.1")

    monkeypatch.setattr(stubbed.client, "sign", silent)
    with pytest.raises(SluicegateError, match="cannot reach KMS") as caught:
        signer.sign(b"m")
    assert not isinstance(caught.value, ConfigurationError)


def test_a_client_waits_and_retries_only_so_long(kms):
    signer = load(f"awskms:///{new_key(kms)['KeyId']}")
    config = signer._client.meta.config
    assert config.connect_timeout == 5
    assert config.read_timeout == 10
    assert config.retries["total_max_attempts"] == 4


def test_without_credentials_nothing_is_tried_anonymously(kms, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    boto3.DEFAULT_SESSION = None
    with pytest.raises(KeyFileError, match="no AWS credentials"):
        load(f"awskms:///{UUID}")


def test_without_a_region_it_says_so(kms, monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ConfigurationError, match="NoRegionError"):
        load(f"awskms:///{UUID}")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ConfigurationError, match="ProfileNotFound"):
        load(f"awskms:///{ARN}")


def test_without_boto3_it_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtraError, match=r"sluicegate\[s3\]"):
        load(f"awskms:///{ARN}")


def test_threads_share_a_signer(kms):
    signer = load(f"awskms:///{new_key(kms)['KeyId']}")
    failed = []

    def work(number):
        try:
            for count in range(5):
                message = b"%d %d" % (number, count)
                signer.public_key.verify(signer.sign(message), message)
        except SluicegateError as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_a_fork_makes_a_client_of_its_own(stubbed, monkeypatch):
    made = []

    def connect():
        made.append(1)
        return stubbed.client

    stubbed.public()
    signer = KmsSigner.open(f"awskms:///{ARN}", connect)
    for _ in range(2):
        stubbed.signature(b"m", sent=b"m", kind="RAW")
    signer.sign(b"m")
    assert len(made) == 1
    monkeypatch.setattr(os, "getpid", lambda: -1)
    signer.sign(b"m")
    assert len(made) == 2


def test_the_representation_names_the_key_and_nothing_else(stubbed):
    assert repr(stubbed.open()) == f"KmsSigner(key_id='{ARN}')"


def test_importing_the_module_imports_no_aws_library():
    code = (
        "import sys, sluicegate.receipts.signers.kms, sluicegate.receipts.signers.pkcs11\n"
        "assert not {'boto3', 'botocore', 'pkcs11'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
