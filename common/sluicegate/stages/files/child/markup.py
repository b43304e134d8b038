"""XML by expat: no entity is expanded, no other file is read, nothing is built."""

from __future__ import annotations

import os
from typing import Any, Final

from sluicegate.stages.files.child.counting import Refused

__all__ = ["read_xml"]

PIECE: Final = 1 << 16
"""Bytes given to the parser at once."""

DEEPEST: Final = 200
"""Elements inside each other: readers that recurse give up at about a thousand."""


class _Watch:
    """What the parser comes across."""

    def __init__(self) -> None:
        self.depth = 0
        self.root = ""
        self.active: set[str] = set()

    def start(self, name: str, attributes: list[str]) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise Refused({"exceeded": "nesting", "counted": self.depth})
        local = name.rpartition(":")[2].lower()
        self.root = self.root or local
        if local in ("script", "foreignobject", "iframe", "handler"):
            self.active.add(local)
        for at in range(0, len(attributes), 2):
            key, value = attributes[at].lower(), attributes[at + 1].lstrip().lower()
            if key.startswith("on") and self.root in ("svg", "html"):
                self.active.add("event handler")
            if value.startswith(("javascript:", "vbscript:", "data:text/html")):
                self.active.add("script address")

    def end(self, name: str) -> None:  # noqa: ARG002  the parser's signature
        self.depth -= 1

    def entity(self, *words: Any) -> None:  # noqa: ARG002
        raise Refused({"entities": True})

    def doctype(
        self,
        name: str,  # noqa: ARG002
        system: str | None,
        public: str | None,
        internal: bool,  # noqa: ARG002, FBT001
    ) -> None:
        if system and not public:
            self.active.add("external DTD")

    def instruction(self, target: str, data: str) -> None:  # noqa: ARG002
        if target.lower() in ("xml-stylesheet", "php"):
            self.active.add(target.lower()[:20])


def read_xml(question: dict[str, Any], descriptor: int) -> dict[str, Any]:
    """Walk an XML document.

    Raises:
        Refused: it declares an entity, is nested too deep, or one tag or text is too long.
    """
    from xml.parsers import expat

    parser, watch = expat.ParserCreate(), _Watch()
    parser.ordered_attributes = True
    parser.buffer_text = False
    parser.StartElementHandler = watch.start
    parser.EndElementHandler = watch.end
    parser.EntityDeclHandler = watch.entity
    parser.StartDoctypeDeclHandler = watch.doctype
    parser.ProcessingInstructionHandler = watch.instruction
    fed = 0
    with os.fdopen(os.dup(descriptor), "rb") as source:
        while piece := source.read(PIECE):
            parser.Parse(piece, False)  # noqa: FBT003  the parser's signature
            fed += len(piece)
            if fed - parser.CurrentByteIndex > question["line"]:
                raise Refused({"exceeded": "line", "counted": fed - parser.CurrentByteIndex})
        parser.Parse(b"", True)  # noqa: FBT003
    return {"expanded": 0, "root": watch.root[:40], "active": sorted(watch.active)}
