r"""What text can hold that no reader sees, or that a program would execute.

Rules about single texts, without any stage. Each has a vectorised filter that lets through
everything that could matter and little else, and an exact judge for what remains; so ten
million short texts take seconds, and every verdict is one that was thought through.

* :mod:`~sluicegate.text.hidden`: characters that are not shown.
* :mod:`~sluicegate.text.scripts`: words that mix alphabets which look alike.
* :mod:`~sluicegate.text.formulas`: cells that a spreadsheet would calculate.
* :mod:`~sluicegate.text.markup`: markup that a browser would execute.
* :mod:`~sluicegate.text.urls`: addresses outside of an allow-list, and disguised ones.
* :mod:`~sluicegate.text.secrets`: keys, tokens, passwords.
* :mod:`~sluicegate.text.personal`: addresses and numbers of people.
* :mod:`~sluicegate.text.prompts`: orders to a language model.

::

    rule("hidden_characters").marks("in\u200bvisible")    # one Mark, kind "zero_width"
    rule("urls", domains=("example.org",))
    rule("personal_data", kinds=("email", "iban"))
"""

from __future__ import annotations

from sluicegate.text.base import Mark, TextRule
from sluicegate.text.registry import DEFAULT_RULES, RULES, kinds_of, rule

__all__ = ["DEFAULT_RULES", "RULES", "Mark", "TextRule", "kinds_of", "rule"]
