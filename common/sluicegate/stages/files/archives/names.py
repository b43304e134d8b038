"""Names of members: which would be written outside, over each other, or not as they look.

Sources: CWE-22 and "Zip Slip" (Snyk, 2018); Unicode Standard Annex 15; Windows, "Naming Files,
Paths, and Namespaces".
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = ["Names", "problem_of"]

LONGEST: Final = 1024
"""Characters of a name: four times what most file systems take for one part of a path."""

_DRIVE: Final = re.compile(r"^[A-Za-z]:")
_RESERVED: Final = re.compile(
    r"^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\..*)?$", re.IGNORECASE
)
_TURNS: Final = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
"""Marks that turn the direction of text: ``exe.csv`` may be ``vsc.exe``."""


def problem_of(name: str) -> str:
    """Return what is wrong with a name; empty if nothing is."""
    if not name:
        return "an empty name"
    if "\0" in name:
        return "a NUL in the name"
    if name[0] in "/\\" or _DRIVE.match(name):
        return "an absolute path"
    if "\\" in name:
        return "a backslash, which some systems take for a folder"
    parts = name.rstrip("/").split("/")
    if ".." in parts:
        return "a path that leads outside"
    if len(name) > LONGEST:
        return f"a name of more than {LONGEST} characters"
    if any(unicodedata.category(one) == "Cc" for one in name):
        return "a control character in the name"
    if _TURNS & set(name):
        return "a mark in the name that turns the direction of text"
    if any(_RESERVED.match(part) for part in parts):
        return "a name that means a device on some systems"
    if any(part != part.rstrip(". ") and part not in (".", "..") for part in parts):
        return "a part that ends with a dot or a space, which some systems drop"
    return ""


class Names:
    """The names of one archive so far, to find those that would fall on each other."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._folders: set[str] = set()

    def problem(self, name: str, *, folder: bool) -> str:
        """Return what is wrong with the next name, alone or beside those before it."""
        if found := problem_of(name):
            return found
        key = _key(name)
        if folder:
            self._folders.add(key)
            return "the name of a file and of a folder" if key in self._files else ""
        if key in self._files:
            same = self._files[key] == name
            return (
                "the same name twice"
                if same
                else "a name that many systems take for that of another entry"
            )
        self._files[key] = name
        if key in self._folders:
            return "the name of a file and of a folder"
        above = key
        while (above := above.rpartition("/")[0]) and above not in self._folders:
            self._folders.add(above)
            if above in self._files:
                return "a file inside a file"
        return ""


def _key(name: str) -> str:
    """Return what a system sees that folds case and normalises: ``a/./B`` and ``a/b`` are one."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", "/".join(parts)).casefold())
