"""Keys, tokens and passwords.

A model that was trained on a secret may say it to anybody who asks. Each kind has a shape of
its own, and something that chance does not meet: a checksum (GitHub, npm), content that
decodes to what it should be (JWT), or the entropy of a random string. A shape alone is no
finding: ``ghp_`` and 36 times ``x`` stands in documentation. Keys that providers publish as
examples (``AKIAIOSFODNN7EXAMPLE``) do count, and say so: an exemption by wording could be
written into any text, and one waiver settles an honest one.

Passwords have no shape; they are seen where something names them (``password = …``) and they
look random. ``password=hunter2`` is not seen. Hashes, UUIDs and version ids are random too,
and are left alone unless something calls them a secret.

Sources: the formats as their providers describe them; RFC 7468 (PEM), RFC 7519 (JWT);
Carlini et al. 2021, "Extracting Training Data from Large Language Models", arXiv:2012.07805.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import string
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from sluicegate.text.base import Mark, check_kinds, merged, wanted

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Secrets", "entropy"]

_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase

_RANDOM: Final = 3.0
"""Bits per character below which a token of 16 characters or more was not drawn at random.
Words and placeholders stay below; 20 random letters and digits have 3.6 or more in 999 of
1,000 draws."""
_RANDOM_HEX: Final = 2.6
"""The same for hexadecimal digits, of which there are 16 only."""
_RANDOM_VALUE: Final = 3.5
"""The same for a value that only its name calls a secret."""


def entropy(text: str) -> float:
    """Return the Shannon entropy of a text's characters, in bits per character."""
    size = len(text)
    return -sum(count / size * math.log2(count / size) for count in Counter(text).values())


def _is_random(match: re.Match[str]) -> str | None:
    token = match["key"]
    least = _RANDOM_HEX if re.fullmatch("[0-9a-fA-F-]+", token) else _RANDOM
    return "" if entropy(token) >= least else None


def _is_aws(match: re.Match[str]) -> str | None:
    if match["key"].endswith("EXAMPLE"):
        return "documented example"
    return _is_random(match)


def _has_crc32(match: re.Match[str]) -> str | None:
    """Return whether the last six characters are the CRC-32 of those before, in base 62.

    One that is not may have been altered, or be of a newer kind: then it must look random.
    """
    token = match["key"]
    value, digits = zlib.crc32(token[:-6].encode()), ""
    while value:
        value, digit = divmod(value, 62)
        digits = _BASE62[digit] + digits
    if digits.rjust(6, "0") == token[-6:]:
        return "checksum holds"
    mixed = any(one.isdigit() for one in token) and any(one.isalpha() for one in token)
    return "checksum does not hold" if mixed and entropy(token) > _RANDOM_VALUE else None


def _is_jwt(match: re.Match[str]) -> str | None:
    head = match["key"].split(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    return "" if isinstance(header, dict) and "alg" in header else None


def _is_pem(_: re.Match[str]) -> str:
    return "PEM"


def _is_value(match: re.Match[str]) -> str | None:
    value = match["key"].rstrip(".,;:!?")
    classes = sum(
        any(test(letter) for letter in value) for test in (str.isdigit, str.islower, str.isupper)
    )
    if len(value) < 12 or classes < 2 or not any(letter.isdigit() for letter in value):
        return None
    if _PLACEHOLDER.search(value) or _REFERENCE.match(value):
        return None
    least = _RANDOM_HEX if re.fullmatch("[0-9a-fA-F]+", value) else _RANDOM_VALUE
    return "" if entropy(value) >= min(least, 0.85 * math.log2(len(value))) else None


def _is_password(match: re.Match[str]) -> str | None:
    password = match["key"]
    plain = _PLACEHOLDER.search(password) or _REFERENCE.match(password)
    known = password.lower() in ("password", "pass", "pwd", "user", "passwd", "secret", "token")
    return None if plain or known or match["user"] == password else ""


_PLACEHOLDER: Final = re.compile(
    r"x{4}|\*{3}|\.{3}|<|>|\$\{|\{\{|%\(|^\$|your|example|placeholder|changeme|redacted|dummy|sample"
    r"|0{6}|1234567890|12345678|abcdefgh",
    re.ASCII | re.IGNORECASE,
)
_REFERENCE: Final = re.compile(
    r"(?:os|self|process|env|config|settings|vars?|secrets?|params?|request|this|args)\b[.\[(]"
    r"|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$|[\w-]+/[\w-]+/|https?:|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$"
    r"|[a-z][a-z0-9]*(?:_[a-z0-9]+)+$|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$|sha\d+[:-]"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}",
    re.ASCII | re.IGNORECASE,
)
"""Code and configuration that names a secret without holding it; UUIDs, digests, dates."""

_B: Final = r"(?<![A-Za-z0-9_/+-])"
_E: Final = r"(?![A-Za-z0-9_/+-])"

Judge = Callable[[re.Match[str]], "str | None"]

_SHAPES: Final[tuple[tuple[str, str, str, Judge], ...]] = (
    (
        "private_key",
        "BEGIN",
        (
            r"(?P<key>-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----)"
            r"(?:(?:[ \t\r\n]|\\r|\\n)*"
            r"(?:[A-Za-z-]{1,32}: [^\r\n\\]{1,200}(?:[ \t\r\n]|\\r|\\n)+){0,5}"
            r"[A-Za-z0-9+/=]{12}|\s{0,8}\Z)"
        ),
        _is_pem,
    ),
    (
        "aws_access_key",
        "A[KSBC][IC]A",
        rf"{_B}(?P<key>(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{{16}})(?![A-Za-z0-9])",
        _is_aws,
    ),
    (
        "aws_secret_key",
        "(?i:aws|secret_?access)",
        (
            r"(?i:aws.{0,24}?(?:secret|sk)|secret_?access_?key).{0,24}?[\"'=:\s]{1,8}"
            r"(?P<key>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"
        ),
        _is_random,
    ),
    (
        "github_token",
        "gh[pousr]_",
        rf"{_B}gh[pousr]_(?P<key>[A-Za-z0-9]{{36}})(?![A-Za-z0-9])",
        _has_crc32,
    ),
    (
        "github_token",
        "github_pat_",
        rf"{_B}github_pat_(?P<key>[A-Za-z0-9]{{22}}_[A-Za-z0-9]{{59}})(?![A-Za-z0-9])",
        _is_random,
    ),
    (
        "gitlab_token",
        "gl[a-z]+-",
        rf"{_B}gl(?:pat|ptt|rt|dt|ft|cbt)-(?P<key>[\w-]{{20,64}}){_E}",
        _is_random,
    ),
    ("npm_token", "npm_", rf"{_B}npm_(?P<key>[A-Za-z0-9]{{36}})(?![A-Za-z0-9])", _has_crc32),
    ("pypi_token", "pypi-", rf"{_B}pypi-(?P<key>AgEI[\w-]{{50,1000}})", _is_random),
    (
        "slack_token",
        "xox|xapp",
        rf"{_B}(?:xox[abeoprs]|xapp)-(?P<key>[0-9A-Za-z]{{1,32}}-[0-9A-Za-z-]{{10,250}})",
        _is_random,
    ),
    (
        "slack_token",
        r"hooks\.slack",
        (
            r"hooks\.slack(?:-gov)?\.com/(?:services|workflows)/(?P<key>[A-Z][A-Za-z0-9]{6,16}/"
            r"[A-Z][A-Za-z0-9]{6,16}/[A-Za-z0-9]{16,40})"
        ),
        _is_random,
    ),
    (
        "stripe_key",
        "[sr]k_",
        rf"{_B}[sr]k_(?:live|test)_(?P<key>[A-Za-z0-9]{{16,247}}){_E}",
        _is_random,
    ),
    ("google_key", "AIza", rf"{_B}AIza(?P<key>[\w-]{{35}}){_E}", _is_random),
    ("google_key", "GOCSPX-", rf"{_B}GOCSPX-(?P<key>[\w-]{{28}}){_E}", _is_random),
    (
        "model_provider_key",
        "sk-",
        rf"{_B}sk-(?:ant-|proj-|svcacct-|or-v1-)?(?P<key>[\w-]{{32,200}}){_E}",
        _is_random,
    ),
    ("model_provider_key", "hf_", rf"{_B}hf_(?P<key>[A-Za-z0-9]{{34,40}}){_E}", _is_random),
    ("sendgrid_key", r"SG\.", rf"{_B}SG\.(?P<key>[\w-]{{22}}\.[\w-]{{43}}){_E}", _is_random),
    (
        "digitalocean_token",
        "do[opr]_v1_",
        rf"{_B}do[opr]_v1_(?P<key>[a-f0-9]{{64}}){_E}",
        _is_random,
    ),
    ("azure_key", "AccountKey", r"AccountKey=(?P<key>[A-Za-z0-9+/]{86}==)", _is_random),
    (
        "jwt",
        "eyJ",
        r"(?<![A-Za-z0-9_.-])(?P<key>eyJ[\w-]{8,4096}\.eyJ[\w-]{8,16384}\.[\w-]{16,2048})(?![\w.-])",
        _is_jwt,
    ),
    (
        "password_in_url",
        "://[^/]",
        (
            r"(?i)(?<![a-z0-9])[a-z][a-z0-9+.-]{1,20}://(?P<user>[^\s:/@\"'<>]{0,64}):"
            r"(?P<key>[^\s:/@\"'<>]{3,128})@[\w.\[-]"
        ),
        _is_password,
    ),
    (
        "assigned_secret",
        "(?i:pass|pwd|secret|token|key|credential|auth)",
        (
            r"(?i)(?:pass(?:word|wd|phrase)?|pwd|secret|token|credentials?|(?:api|access|auth|private"
            r"|secret|encryption|signing|master|account|service)[_ -]?key|authorization)"
            r"[\"']?\s{0,4}(?:=>|:=|[:=]|\bis\b)\s{0,4}(?:bearer\s|basic\s)?[\"'`]?"
            r"(?P<key>[A-Za-z0-9+/=_.~!@#$%^&*-]{12,512}+)(?![\w(\[])"
        ),
        _is_value,
    ),
)
"""Kind; what a text must hold for it to be looked for; its pattern; what else must be so,
returning a detail or None. More certain ones stand first: places are reported once."""

KINDS: Final = tuple(dict.fromkeys(shape[0] for shape in _SHAPES))

_COMPILED: Final = tuple(
    (kind, re.compile(hint, re.ASCII), re.compile(pattern, re.ASCII), judge)
    for kind, hint, pattern, judge in _SHAPES
)

_HINTS: Final = (
    *("PRIVATE KEY", "AKIA", "ASIA", "ABIA", "ACCA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    *("github_pat_", "glpat-", "glptt-", "glrt-", "gldt-", "glft-", "glcbt-", "npm_", "pypi-A"),
    *("xox", "xapp-", "hooks.slack", "k_live_", "k_test_", "AIza", "GOCSPX-", "sk-", "hf_", "SG."),
    *("do_v1_", "dop_v1_", "doo_v1_", "dor_v1_", "AccountKey=", "eyJ", "://"),
    *("aws", "secretaccess", "secret_access"),
)
"""What a text must hold, in any case of its letters, for a shape to be looked for."""
_LIKELY: Final = (
    r"PRIVATE KEY|A[KSBC][IC]A[A-Z0-9]{8}|gh[pousr]_[A-Za-z0-9]{8}|github_pat_|gl[a-z]+-"
    r"|npm_[A-Za-z0-9]{8}|pypi-A|xox[a-z]-|xapp-|hooks\.slack|[sr]k_(?:live|test)_|AIza|GOCSPX-"
    r"|sk-[A-Za-z0-9_-]{16}|hf_[A-Za-z0-9]{8}|SG\.[A-Za-z0-9_-]{8}|do[opr]_v1_|AccountKey="
    r"|eyJ[A-Za-z0-9_-]+\.eyJ|://[^ \t\r\n:/@]*:[^ \t\r\n:/@]+@|[A-Za-z0-9/+]{40}"
)
_ASSIGNED: Final = (
    r"(?i-u:pass|word|wd|phrase|pwd|secret|token|credentials?|key|authorization)[\"']?"
    r"[ \t-\r]{0,4}(?:=>|:=|[:=]|(?i-u:is))[ \t-\r]{0,4}(?:(?i-u:bearer|basic)[ \t-\r])?[\"'`]?"
    r"[A-Za-z0-9+/=_.~!@#$%^&*-]{12}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Keys, tokens and passwords.

    Raises:
        ConfigurationError: an unknown kind.
    """

    name: ClassVar[str] = "secrets"
    about: ClassVar[str] = "keys, tokens and passwords"
    known_kinds: ClassVar[tuple[str, ...]] = KINDS

    kinds: tuple[str, ...] = ()
    """Kinds to look for; all if empty."""

    def __post_init__(self) -> None:
        check_kinds(self.name, self.kinds, KINDS)

    def suspects(self, text: pl.Expr) -> pl.Expr:
        """Return which texts hold something of the shape of a secret."""
        import polars as pl

        hinted = text.str.contains_any(list(_HINTS), ascii_case_insensitive=True)
        likely = pl.when(hinted).then(text).str.contains(_LIKELY).fill_null(value=False)
        assigned = text.str.contains(_ASSIGNED)
        return likely | assigned

    def marks(self, value: str) -> tuple[Mark, ...]:
        """Return every secret; where two kinds would fit, the more certain one."""
        found = []
        for kind, hint, pattern, judge in _COMPILED:
            if hint.search(value) is None:
                continue
            for match in pattern.finditer(value):
                detail = judge(match)
                if detail is not None:
                    start, end = match.span("key")
                    found.append(Mark(kind, start, end - start, detail))
        return wanted(merged(found), self.kinds)
