"""The stage that looks at files before any parser touches their bytes.

What a file is called is a claim; what it holds is asked of the bytes. ``kinds`` knows the
types and their endings, ``signatures`` tells them apart, ``inspector`` leads each file to the
module that walks its structure, ``archives`` look inside containers and count what really
comes out, ``formats`` walk everything else, and ``child`` is a process with limits for
parsers of native code. ``examination`` collects what is remarkable.

The stage is imported when it is first asked for: the child shares this package, and must
start fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sluicegate.stages.files.stage import InspectFiles

__all__ = ["InspectFiles"]


def __getattr__(name: str) -> Any:
    if name != "InspectFiles":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sluicegate.stages.files.stage import InspectFiles

    return InspectFiles
