"""OpenSSF Model Signing (OMS) v1.0: a folder of a model or dataset under one signature.

A bundle lists every file with its digest. What is signed here is read by other tools of the
format, and what they sign is read here, with one difference: nothing is ever ignored. The
format lets a bundle list paths to ignore, and a verifier that follows such a list can be
given files that nobody signed; here a file under such a path is refused.

``trust`` says who may sign, ``envelope`` is the signed wrapping, ``statement`` the list of
files, and ``directory`` compares that list with what lies there.

The list is flat: about 200 bytes a file, all in memory. It suits models and datasets of up
to a few hundred thousand files; beyond that a receipt over a Merkle root is the right form.

Source: OpenSSF Model Signing v1.0, predicate type ``https://model_signing/signature/v1.0``.
"""

from sluicegate.receipts.oms.directory import Verified, sign, verify
from sluicegate.receipts.oms.envelope import Envelope
from sluicegate.receipts.oms.statement import OmsStatement
from sluicegate.receipts.oms.trust import CertificateTrust, KeyTrust, Signatory, Trust

__all__ = [
    "CertificateTrust",
    "Envelope",
    "KeyTrust",
    "OmsStatement",
    "Signatory",
    "Trust",
    "Verified",
    "sign",
    "verify",
]
