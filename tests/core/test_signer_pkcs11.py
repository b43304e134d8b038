"""Keys on PKCS #11 tokens: against SoftHSM, a token in software (Debian: ``softhsm2``).

What SoftHSM does not do (count wrong PINs, lock, lose its cable) is told by a token made of
plain objects; it stands in for python-pkcs11's, not for the module under test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import traceback
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.errors import (
    ConfigurationError,
    KeyFileError,
    MissingExtraError,
    SluicegateError,
)
from sluicegate.receipts.bundle import Bundle, seal
from sluicegate.receipts.keys import PublicKey
from sluicegate.receipts.signers import load, pkcs11
from sluicegate.receipts.signers.pkcs11_uri import parse_location, read_pin

PIN = "12 34é"
MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
MODULE = next((path for path in MODULES if os.path.exists(path)), "")
needs_token = pytest.mark.skipif(
    not (MODULE and shutil.which("softhsm2-util")), reason="SoftHSM is not installed"
)


def tool(*arguments):
    command = ["softhsm2-util", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)


def shown(error):
    """Return what a traceback would say of an error and of what it is chained to."""
    return "".join(
        line
        for part in traceback.TracebackException.from_exception(error).format(chain=True)
        for line in part.splitlines(keepends=True)
        if not line.startswith("  ")
    )


class Token:
    """A SoftHSM token with several keys."""

    def __init__(self, folder: Path) -> None:
        import pkcs11 as library

        self.library = library
        self.pin_file = folder / "pin"
        self.pin_file.write_text(f"{PIN}\n")
        self.pin_file.chmod(0o600)
        with self.open(rw=True) as session:
            self.pair(session, "receipts", b"\x01\xff")
            self.pair(session, "twice", b"\x02")
            self.pair(session, "twice", b"\x03")
            self.pair(session, "p384", b"\x04", curve="secp384r1")
            self.pair(session, "every", b"\x05", always=True)
            self.pair(session, "deriving", b"\x06", sign=False)
            self.swapped(session)
            session.generate_keypair(library.KeyType.RSA, 2048, store=True, label="rsa")

    def open(self, **options):
        token = self.library.lib(MODULE).get_token(token_label="gates; & ?")
        return token.open(user_pin=PIN, **options)

    def pair(self, session, label, id, *, curve="secp256r1", always=False, sign=True, **public):
        from pkcs11 import Attribute, KeyType
        from pkcs11.util.ec import encode_named_curve_parameters

        parameters = session.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}, local=True
        )
        private = {Attribute.ALWAYS_AUTHENTICATE: always, Attribute.SIGN: sign}
        return parameters.generate_keypair(
            store=True, label=label, id=id, private_template=private, **public
        )

    def swapped(self, session):
        """Make a private key whose public object is another's."""
        from pkcs11 import Attribute

        public, _ = self.pair(session, "swapped", b"\x07")
        other, spare = self.pair(session, "spare", b"\x08")
        public.destroy()
        spare.destroy()
        other[Attribute.LABEL] = "swapped"
        other[Attribute.ID] = b"\x07"

    def uri(self, *path, pin="file"):
        source = {"file": f"&pin-source={self.pin_file}", "none": ""}.get(pin, pin)
        key = ";".join(("token=gates%3B%20%26%20%3F", *path))
        return f"pkcs11:{key}?module-path={MODULE}{source}"


@pytest.fixture(scope="module")
def token(tmp_path_factory):
    folder = tmp_path_factory.mktemp("token")
    (folder / "tokens").mkdir()
    settings = folder / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(settings))
        for name in ("gates; & ?", "other"):
            tool("--init-token", "--free", "--label", name, "--so-pin", "5678", "--pin", PIN)
        yield Token(folder)


@needs_token
@pytest.mark.parametrize("key", ["object=receipts", "id=%01%FF", "object=receipts;id=%01%ff"])
def test_signs_a_receipt_that_the_public_key_alone_verifies(token, key):
    signer = load(token.uri(key))
    public = PublicKey(signer.public_key.pem)
    for payload in (b"{}", b"[" + b"1," * 3000 + b"1]"):
        assert Bundle.parse(seal(payload, signer)).verify(lambda _: public) == payload


@needs_token
def test_the_pin_comes_from_a_file_a_variable_or_the_key_password(token, monkeypatch):
    keys = {load(token.uri("object=receipts")).public_key.id}
    keys.add(load(token.uri("object=receipts", pin="none"), PIN.encode()).public_key.id)
    monkeypatch.setenv("TOKEN_PIN", PIN)
    keys.add(load(token.uri("object=receipts", pin="&pin-source=env:TOKEN_PIN")).public_key.id)
    assert len(keys) == 1
    with pytest.raises(KeyFileError, match="wants a PIN"):
        load(token.uri("object=receipts", pin="none"))


@needs_token
def test_a_wrong_pin_is_refused_and_not_shown(token):
    with pytest.raises(KeyFileError, match="PIN is wrong") as caught:
        load(token.uri("object=receipts", pin="none"), b"8642")
    assert "8642" not in shown(caught.value)
    with pytest.raises(KeyFileError, match="PIN is wrong"):
        load(token.uri("object=receipts", pin="none"), b"1")
    assert load(token.uri("object=receipts"))


@needs_token
@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("object=missing", "0 private keys"),
        ("object=twice", "2 private keys"),
        ("object=receipts;id=%02", "0 private keys"),
        ("object=p384", "not on the curve P-256"),
        ("object=rsa", "not an elliptic-curve key"),
        ("object=deriving", "may sign"),
    ],
)
def test_keys_that_will_not_do_are_refused(token, key, words):
    with pytest.raises(KeyFileError, match=words):
        load(token.uri(key))


@needs_token
def test_one_of_two_keys_of_a_name_is_named_by_its_id(token):
    first, second = (load(token.uri("object=twice", f"id=%{n:02}")) for n in (2, 3))
    assert first.public_key != second.public_key
    second.public_key.verify(second.sign(b"m"), b"m")


@needs_token
def test_a_key_that_wants_its_pin_each_time_gets_it(token):
    signer = load(token.uri("object=every"))
    for message in (b"a", b"b"):
        signer.public_key.verify(signer.sign(message), message)


@needs_token
def test_a_public_object_of_another_key_is_found_out(token):
    signer = load(token.uri("object=swapped"))
    with pytest.raises(KeyFileError, match="not one of its public key"):
        signer.sign(b"m")


@needs_token
@pytest.mark.parametrize("name", ["nothing", "gates"])
def test_a_missing_token_is_refused(token, name):
    uri = f"pkcs11:token={name};object=receipts?module-path={MODULE}"
    with pytest.raises(KeyFileError, match="0 tokens"):
        load(uri, PIN.encode())


@needs_token
def test_a_serial_number_names_a_token(token):
    serial = token.library.lib(MODULE).get_token(token_label="gates; & ?").serial.decode()
    uri = f"pkcs11:serial={serial};model=SoftHSM%20v2;object=receipts?module-path={MODULE}"
    assert load(uri, PIN.encode()).public_key == load(token.uri("object=receipts")).public_key
    with pytest.raises(KeyFileError, match="0 tokens"):
        load(uri.replace(serial, "0" * len(serial)), PIN.encode())
    with pytest.raises(KeyFileError, match="0 tokens"):
        load(uri.replace("v2", "v3"), PIN.encode())


@needs_token
def test_threads_share_a_token(token):
    signer, failed = load(token.uri("object=receipts")), []

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


@needs_token
def test_a_forked_process_signs_on_its_own(token):
    signer = load(token.uri("object=receipts"))
    child = os.fork()
    if child == 0:
        try:
            signer.public_key.verify(signer.sign(b"child"), b"child")
            os._exit(0)
        finally:
            os._exit(1)
    signer.public_key.verify(signer.sign(b"parent"), b"parent")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@needs_token
def test_a_module_that_is_none_is_refused(tmp_path):
    (tmp_path / "text.so").write_text("no library")
    for path in (tmp_path / "text.so", tmp_path / "missing.so"):
        with pytest.raises(KeyFileError, match="cannot be used"):
            load(f"pkcs11:token=t;object=k?module-path={path}", b"1234")


def test_without_the_library_it_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pkcs11", None)
    with pytest.raises(MissingExtraError, match=r"sluicegate\[pkcs11\]"):
        load("pkcs11:token=t;object=k?module-path=/lib.so", b"1234")


class OddToken:
    """A token that answers as it is told."""

    label, manufacturer_id, model, serial = "t", "m", "x", b"1"

    def __init__(self, *, flags=0, error=None):
        self.flags, self.error, self.opened = flags, error, 0

    def open(self, user_pin=None):
        self.opened += 1
        raise self.error


@pytest.fixture
def odd(monkeypatch):
    pytest.importorskip("pkcs11")

    def use(**how):
        token = OddToken(**how)
        module = SimpleNamespace(get_tokens=lambda: [token])
        monkeypatch.setattr(pkcs11, "_module", lambda path: module)
        return token

    return use


ODD = "pkcs11:token=t;object=k?module-path=/lib.so"


@pytest.mark.parametrize(
    ("flag", "words"), [("USER_PIN_FINAL_TRY", "would lock"), ("USER_PIN_LOCKED", "is locked")]
)
def test_a_token_about_to_lock_is_left_alone(odd, flag, words):
    from pkcs11 import TokenFlag

    token = odd(flags=TokenFlag[flag])
    with pytest.raises(KeyFileError, match=words):
        load(ODD, b"1234")
    assert not token.opened


def test_one_wrong_pin_before_is_no_reason_to_stop(odd):
    from pkcs11 import TokenFlag
    from pkcs11.exceptions import PinIncorrect

    token = odd(flags=TokenFlag.USER_PIN_COUNT_LOW, error=PinIncorrect())
    with pytest.raises(KeyFileError, match="tried once"):
        load(ODD, b"1234")
    assert token.opened == 1


@pytest.mark.parametrize(
    ("name", "retry"),
    [("DeviceRemoved", True), ("DeviceError", True), ("PinLocked", False), ("GeneralError", False)],
)
def test_what_a_retry_may_mend_is_told_apart(odd, name, retry):
    from pkcs11 import exceptions

    odd(error=getattr(exceptions, name)())
    with pytest.raises(SluicegateError) as caught:
        load(ODD, b"1234")
    assert isinstance(caught.value, ConfigurationError) != retry


@pytest.mark.parametrize("size", [0, 63, 65, 96])
def test_a_signature_of_the_wrong_length_is_refused(size):
    where = parse_location(ODD)
    with pytest.raises(KeyFileError, match="expected 64"):
        pkcs11._to_der(bytes(size), where)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "pkcs11:",
        "pkcs11:token=t;object=k",
        "pkcs11:token=t?module-path=/m.so",
        "pkcs11:object=k?module-path=/m.so",
        "pkcs11:token=t;object=k?module-path=m.so",
        "pkcs11:token=t;object=k?module-name=softhsm",
        "pkcs11:token=t;token=t;object=k?module-path=/m.so",
        "pkcs11:token=t;object=k?module-path=/m.so&module-path=/n.so",
        "pkcs11:token=t;object=k;?module-path=/m.so",
        "pkcs11:token=t;object=k;type=public?module-path=/m.so",
        "pkcs11:token=t;object=k;x-vendor=1?module-path=/m.so",
        "pkcs11:token=t;object=k;slot-id=1?module-path=/m.so",
        "pkcs11:token=;object=k?module-path=/m.so",
        "pkcs11:token=t;object=a b?module-path=/m.so",
        "pkcs11:token=t;object=a/b?module-path=/m.so",
        "pkcs11:token=t;object=%4?module-path=/m.so",
        "pkcs11:token=t;object=%FF?module-path=/m.so",
        "pkcs11:token=t;object=a%00b?module-path=/m.so",
        "pkcs11:token=t;object=k?module-path=/m.so\n",
        "pkcs11:token=t;object=k?module-path=/m.so?",
        "pkcs11:token=t;object=k?",
        "pkcs11:token=t;object=" + "k" * 5000 + "?module-path=/m.so",
    ],
)
def test_malformed_uris_are_refused(uri):
    if uri.endswith("?") and "module" in uri:
        assert parse_location(uri).module == "/m.so?"  # the grammar has "?" in values of a query
        return
    with pytest.raises(KeyFileError, match="cannot be used"):
        parse_location(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:token=t;object=k?module-path=/m.so&pin-value=98765",
        "pkcs11:token=t;object=k;pin-value=98765?module-path=/m.so",
        "pkcs11:token=t;object=k;98765?module-path=/m.so",
        "pkcs11:token=t;object=k?module-path=/m.so&pin-source=98765 ",
        "pkcs11:token=t;object=k?module-path=98765&pin-source=/p",
    ],
)
def test_a_refusal_shows_no_value(uri):
    with pytest.raises(KeyFileError) as caught:
        parse_location(uri)
    assert "98765" not in shown(caught.value)


def test_percent_encoding_is_undone_once():
    found = parse_location(
        "PKCS11:token=a%3bb%2541;object=k%C3%A9y&1;id=%00%2F;type=private"
        "?pin-source=file:/p%20q&module-path=/m%26.so"
    )
    assert (found.token, found.label, found.id) == ("a;b%41", "kéy&1", b"\x00/")
    assert (found.module, found.pin_source) == ("/m&.so", "file:/p q")
    assert "/p q" not in repr(found)


@given(token=st.text(min_size=1, max_size=40), id=st.binary(min_size=1, max_size=20))
def test_every_name_that_is_encoded_is_read_back_or_refused(token, id):
    encoded = "".join(f"%{byte:02X}" for byte in token.encode("utf-8", "surrogatepass"))
    numbers = "".join(f"%{byte:02x}" for byte in id)
    try:
        found = parse_location(f"pkcs11:token={encoded};id={numbers}?module-path=/m.so")
    except KeyFileError:
        assert any(ord(char) < 32 or ord(char) == 0x7F for char in token)
    else:
        assert (found.token, found.id) == (token, id)


@given(st.text(max_size=60))
def test_any_text_is_a_location_or_a_refusal(text):
    for uri in (f"pkcs11:{text}", f"pkcs11:token=t;object=k?{text}"):
        try:
            parse_location(uri)
        except KeyFileError:
            continue


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("relative", "absolute path"),
        ("|cat%20/etc/pin", "absolute path"),
        ("//host/pin", "absolute path"),
        ("file://host/pin", "absolute path"),
        ("env:NO_SUCH_VARIABLE", "is empty"),
        ("/no/such/file", "cannot read the PIN file"),
        ("/dev/null", "not a plain file"),
    ],
)
def test_pin_sources_that_will_not_do_are_refused(source, words, monkeypatch):
    monkeypatch.delenv("NO_SUCH_VARIABLE", raising=False)
    where = parse_location(f"{ODD}&pin-source={source}")
    with pytest.raises(KeyFileError, match=words):
        read_pin(where, b"password")


def test_a_pin_file_is_its_owners_alone(tmp_path):
    path = tmp_path / "pin"
    where = parse_location(f"{ODD}&pin-source=file:{path}")
    path.write_bytes(b"1234\r\n")
    path.chmod(0o600)
    assert read_pin(where, None) == "1234"
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="only its owner"):
        read_pin(where, None)
    path.chmod(0o600)
    for content in (b"", b"\n", b"\xff\xfe", b"1" * 256, b"1" * 5000):
        path.write_bytes(content)
        with pytest.raises(KeyFileError):
            read_pin(where, None)
