"""Checkpoints, cosignatures and tiles: other people's in ours, ours in other people's."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import textwrap
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sluicegate.errors import KeyFileError, LedgerError
from sluicegate.ledger.folder import FolderLedger
from sluicegate.ledger.link_objects import LinkObjects
from sluicegate.ledger.note import (
    COSIGNATURE,
    NoteSigner,
    NoteVerifier,
    SignedCheckpoint,
    cosign,
)
from sluicegate.ledger.objects import ObjectLedger

DASH = "\u2014"

# ---------------------------------------------------------------- theirs, in ours

GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_PRIVATE = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
"""The key pair in the documentation of golang.org/x/mod/sumdb/note: 0x01, then the seed."""
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
GO_SIGNATURE = (
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
)


def test_the_signed_note_of_the_go_library():
    verifier = NoteVerifier.parse(GO_VKEY)
    assert str(verifier) == GO_VKEY
    blob = base64.b64decode(GO_SIGNATURE)
    assert blob[:4] == verifier.id
    verifier.verify(blob[4:], GO_TEXT.encode())
    with pytest.raises(LedgerError):
        verifier.verify(blob[4:], GO_TEXT.replace("your", "my").encode())
    private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(GO_PRIVATE)[1:])
    signer = NoteSigner("PeterNeumann", private)
    line = signer.line(private.sign(GO_TEXT.encode()))
    assert line == f"{DASH} PeterNeumann {GO_SIGNATURE}\n"


@pytest.mark.parametrize(
    "vkey",
    [
        "TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6",  # + inside the base64
        "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",  # a witness's
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
    ],
)
def test_public_keys_of_others_are_read_and_written_alike(vkey):
    assert str(NoteVerifier.parse(vkey)) == vkey
    with pytest.raises(KeyFileError):
        NoteVerifier.parse(vkey.replace("+", "X+", 1))  # the id belongs to the name


LIVE = f"""\
arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

{DASH} arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGRE\
PMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
{DASH} arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC\
3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
{DASH} transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ\
2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
{DASH} witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEc\
xZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
{DASH} remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9\
sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
{DASH} witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJ\
mIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
"""
"""A published checkpoint of a Certificate Transparency log, cosigned by independent witnesses."""
LIVE_LOG = (
    "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
)
LIVE_WITNESSES = (
    (
        "transparency.dev/DEV:witness-little-garden+d8042a87+"
        "BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM"
    ),
    "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
)


def test_a_checkpoint_of_a_live_log_and_its_witnesses():
    signed = SignedCheckpoint.parse(LIVE.encode())
    checkpoint = signed.verify(NoteVerifier.parse(LIVE_LOG))
    assert (checkpoint.size, checkpoint.root.hex()[:8]) == (1432088532, "53b58cef")
    found = signed.cosignatures(map(NoteVerifier.parse, LIVE_WITNESSES))
    assert len(found) == 4
    assert {one.time for one in found} == {datetime.fromtimestamp(0x6A122120, UTC)}


@pytest.mark.parametrize(
    ("old", "new"),
    [("1432088532", "1432088533"), ("U7WM", "U7WN"), ("BqEiEgPlf", "BqEiEhPlf")],
)
def test_one_changed_character_of_it_is_noticed(old, new):
    signed = SignedCheckpoint.parse(LIVE.replace(old, new).encode())
    with pytest.raises(LedgerError, match="is not by the key"):
        signed.cosignatures([NoteVerifier.parse(LIVE_WITNESSES[2])])
    if old in LIVE.partition("\n\n")[0]:
        with pytest.raises(LedgerError, match="is not by the key"):
            signed.verify(NoteVerifier.parse(LIVE_LOG))


SPECIFICATION = f"""\
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

{DASH} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcy\
v2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
{DASH} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3\
b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""


def test_the_example_of_the_specification_is_read():
    """Its keys are not public, so only its shape can be compared."""
    signed = SignedCheckpoint.parse(SPECIFICATION.encode())
    assert signed.checkpoint.size == 20852163
    (_, _, log), (name, _, cosignature) = signed.signatures
    assert (len(log), name, len(cosignature)) == (64, "witness.example.com/w1", 72)
    assert int.from_bytes(cosignature[:8], "big") == 1679315147


# ---------------------------------------------------------------- ours, in theirs

ORIGIN = "log.example/interop"


@pytest.fixture(params=["folder", "links"])
def ours(request, tmp_path):
    """Return a folder with a signed and cosigned ledger of 600 entries, and its two keys."""
    signer = NoteSigner(ORIGIN, Ed25519PrivateKey.generate())
    witness = NoteSigner("witness.example/w1", Ed25519PrivateKey.generate(), COSIGNATURE)
    folder = tmp_path / "log"
    log = (
        ObjectLedger(LinkObjects(folder), origin=ORIGIN, signer=signer)
        if request.param == "links"
        else FolderLedger(folder, origin=ORIGIN, signer=signer)
    )
    for number in range(3):
        log.append_many([b"entry %d" % (200 * number + at) for at in range(200)])
    signed = log.checkpoint()
    assert log.attach(signed.note + cosign(signed, witness).encode())
    return folder, signer, witness


def test_our_checkpoint_in_the_verifier_of_sigstore(ours):
    """Rekor's checkpoints are the same notes; sigstore's parser and key ring are its own."""
    pytest.importorskip("sigstore")
    from sigstore._internal.rekor.checkpoint import SignedCheckpoint as Theirs
    from sigstore._internal.trust import Keyring
    from sigstore.errors import VerificationError
    from sigstore_models.common.v1 import PublicKey, PublicKeyDetails

    folder, signer, _ = ours
    text = (folder / "checkpoint").read_text()
    parsed = Theirs.from_text(text)
    der = signer.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ring = Keyring(
        [PublicKey(raw_bytes=base64.b64encode(der), key_details=PublicKeyDetails.PKIX_ED25519)]
    )
    hint = signer.verifier.id
    parsed.signed_note.verify(ring, hint)
    assert (parsed.checkpoint.origin, parsed.checkpoint.log_size) == (ORIGIN, 600)
    forged = Theirs.from_text(text.replace("\n600\n", "\n601\n"))
    with pytest.raises(VerificationError):
        forged.signed_note.verify(ring, hint)


JUDGE = """
import json, sys
from pathlib import Path
import aics_tlog as theirs

folder, log, witness = sys.argv[1:]
reader = theirs.FileSystemTileReader(Path(folder))
note = theirs.parse_note((Path(folder) / "checkpoint").read_bytes())
policy = theirs.WitnessPolicy(quorum=1, witnesses=(theirs.parse_vkey(witness),))
found = theirs.verify_checkpoint(note, theirs.parse_vkey(log), policy=policy)
checkpoint = theirs.parse_checkpoint(note.text)
audit = theirs.audit_tiles(reader, checkpoint.size, checkpoint.root)
entry = theirs.VerifiedTileReader(reader, checkpoint.size, checkpoint.root).entry(345)
print(json.dumps([found.ok, checkpoint.size, audit.bundles, entry.decode()]))
"""

WRITER = """
import json, sys, time
import aics_tlog as theirs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

log, witness = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
checkpoint = theirs.Checkpoint("log.example/theirs", 7, bytes(range(32)), ("extension",))
note = theirs.sign_checkpoint(checkpoint, log, checkpoint.origin)
_, line = theirs.sign_cosignature(
    witness, "witness.example/theirs", int(time.time()), checkpoint.origin, 7, checkpoint.root,
    checkpoint.extension_lines,
)
note = theirs.Note(text=note.text, signatures=(*note.signatures, line))
keys = [
    theirs.format_vkey(theirs.vkey_from_ed25519(checkpoint.origin, log.public_key())),
    theirs.format_vkey(theirs.cosignature_vkey("witness.example/theirs", witness.public_key())),
]
print(json.dumps([note.serialise(), *keys]))
"""


def in_aics_tlog(script, *arguments):
    """Run a script where aics-tlog is installed, which asks for a newer Python than ours."""
    python = os.environ.get("SLUICEGATE_TLOG_PYTHON", sys.executable)
    probe = subprocess.run([python, "-c", "import aics_tlog"], capture_output=True)
    if probe.returncode:
        pytest.skip("aics-tlog is not installed; name its Python in SLUICEGATE_TLOG_PYTHON")
    result = subprocess.run(
        [python, "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_our_ledger_in_another_implementation_of_tiled_logs(ours):
    folder, signer, witness = ours
    found = in_aics_tlog(JUDGE, folder, signer.verifier, witness.verifier)
    assert found == [True, 600, 3, "entry 345"]


def test_the_checkpoint_and_cosignature_of_that_implementation_in_ours():
    note, log, witness = in_aics_tlog(WRITER)
    signed = SignedCheckpoint.parse(note.encode())
    checkpoint = signed.verify(NoteVerifier.parse(log))
    assert (checkpoint.size, checkpoint.extensions) == (7, ("extension",))
    assert len(signed.cosignatures([NoteVerifier.parse(witness)])) == 1
