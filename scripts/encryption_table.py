"""The table of checks in docs/encryption.md, made of the questions themselves.

python scripts/encryption_table.py            print it
python scripts/encryption_table.py --write    put it into the documentation
"""

from __future__ import annotations

import sys
from pathlib import Path

from sluicegate.stages.encryption.areas import all_areas
from sluicegate.stages.encryption.question import Question

PAGE = Path(__file__).resolve().parents[1] / "docs" / "encryption.md"
BEGIN, END = "<!-- checks -->\n", "<!-- end of checks -->\n"


def table() -> str:
    """Return the table, Markdown: one part for each area."""
    parts = []
    for area in all_areas():
        rows = "".join(_row(question) for question in area.questions)
        parts.append(
            f"### {area.name.capitalize()}\n\n"
            "| id | asks | severity | calls | IAM actions | controls | not shown by moto |\n"
            "| --- | --- | --- | --- | --- | --- | --- |\n" + rows
        )
    return "\n".join(parts)


def page() -> str:
    """Return the documentation with the table of today in it."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


def _row(question: Question) -> str:
    actions = dict.fromkeys(f"`{one.action}`" for one in question.permissions)
    cells = (
        f"`{question.id.removeprefix('encryption.')}`",
        question.asks,
        question.severity.value,
        ", ".join(f"`{one}`" if "." in one else one for one in question.calls),
        ", ".join(actions),
        ", ".join(question.control_ids),
        question.simulator,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(page())
    else:
        print(table())
