"""Figures of a validation report: counted, escaped, and nothing but what the suite names."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from sluicegate.figures import Bars, Sparkline, Sparklines
from sluicegate.model import Check, Report, RunIdentity, Verdict
from sluicegate.reports.html import render_report
from sluicegate.stages.validation.answers import GX, Answer
from sluicegate.stages.validation.figures import validation_figures
from sluicegate.stages.validation.suites.parse import parse_suite

ATTACK = "</style><script>alert(1)</script>\u202e"
PSI = {
    "type": "expect_column_psi_to_be_less_than",
    "kwargs": {"column": "amount", "edges": [0, 1, 2.5], "shares": [0.4, 0.6], "threshold": 0.2},
    "severity": "info",
}
RANGE = {
    "type": "expect_column_values_to_be_in_robust_range",
    "kwargs": {"column": "amount", "low": 0, "high": 10, "margin": 0.5, "mostly": 0.9},
    "severity": "warning",
}
FROZEN = {
    "type": "expect_column_categories_to_be_frozen",
    "kwargs": {"column": "city", "categories": ["rome", ATTACK, True, 3]},
}
SHARES = {
    "type": "expect_column_label_shares_to_match",
    "kwargs": {"column": "label", "shares": {"yes": 0.25, "no": 0.75}, "max_distance": 0.1},
}
EXIST = {"type": "expect_column_to_exist", "kwargs": {"column": "x"}}


def suite(*entries):
    return parse_suite(json.dumps({"name": "s", "expectations": list(entries)}).encode())


def answer(success=True, **counts):
    return Answer(engine=GX, success=success, **counts)


def spark(**changes):
    line = Sparkline(name="a", observed=(1, 2), labels=("x", "y"))
    return replace(line, **changes)


def test_distributions_stand_beside_the_baseline_of_the_suite():
    answers = {
        0: answer(distribution=(30, 60, 10)),
        1: answer(success=False, distribution=(1, 99, 3), reason=""),
    }
    (figure,) = validation_figures(suite(PSI, SHARES), answers)
    amount, label = figure.lines
    assert (amount.observed, amount.outside, amount.expected) == ((30, 60), 10, (0.4, 0.6))
    assert amount.labels == ("0 to 1", "1 to 2.5")
    assert (label.labels, label.expected, label.state) == (("yes", "no"), (0.25, 0.75), "failed")


def test_rows_that_are_not_as_expected_are_shown_by_reason():
    answers = {0: answer(), 1: answer(success=False, unexpected=7, elements=50, missing=10)}
    (reasons,) = validation_figures(suite(EXIST, RANGE), answers)
    (bar,) = reasons.bars
    assert (bar.observed, bar.expected) == (7, 4)
    assert "quarantine" in bar.name


def test_without_counts_there_is_no_figure():
    answers = {0: answer(), 1: answer(), 2: answer(distribution=(1, 2)), 3: answer()}
    assert validation_figures(suite(PSI, RANGE, FROZEN, EXIST), answers) == ()


def test_counts_that_do_not_fit_the_suite_are_not_drawn():
    assert validation_figures(suite(PSI), {0: answer(distribution=(1, 2))}) == ()


def test_an_expectation_that_could_not_tell_is_drawn_as_such():
    told = answer(success=None, reason="too few", distribution=(1, 1, 0))
    (figure,) = validation_figures(suite(PSI), {0: told})
    assert figure.lines[0].state == "unknown"


@pytest.mark.parametrize(
    "changes",
    [
        {"observed": (), "labels": ()},
        {"observed": (1,)},
        {"expected": (1.0,)},
        {"observed": (-1, 0)},
        {"observed": (float("nan"), 0)},
        {"outside": float("inf")},
        {"state": "fine"},
    ],
)
def test_a_sparkline_refuses_what_it_cannot_draw(changes):
    with pytest.raises(ValueError):
        spark(**changes)


def test_of_too_many_lines_those_that_failed_are_kept():
    lines = tuple(spark(name=str(n), state="failed" if n == 80 else "passed") for n in range(90))
    value = Sparklines(title="t", lines=lines).to_json()
    assert len(value["lines"]) == 60
    assert value["omitted"] == 30
    assert value["lines"][-1]["name"] == "80"
    with pytest.raises(ValueError):
        Sparklines(title="t", lines=())


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes = [], {}

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.update(attrs)


def page(*figures):
    document = {
        "stage": "validate-dataset",
        "version": "1",
        "configuration": {},
        "subject": {"digest": "sha256:" + "0" * 64, "files": 1, "bytes": 10},
        **Report(checks=(Check.passed("area.thing"),), figures=figures).to_json(),
    }
    return render_report(
        json.loads(json.dumps(document)),
        uri="file:///x",
        verdict=Verdict.ALLOW,
        reasons=(),
        issued=datetime(2030, 1, 2, tzinfo=UTC),
        run=RunIdentity(orchestrator="cli"),
    )


def test_the_page_draws_them_inline_and_escapes_every_word():
    answers = {0: answer(distribution=(5, 1, 2, 3, 0)), 1: answer(distribution=(30, 60, 10))}
    figures = validation_figures(suite(FROZEN, PSI), answers)
    html = page(*figures)
    seen = Page()
    seen.feed(html)
    assert seen.tags.count("svg") == 2
    assert not {"script", "img", "iframe", "link", "object"} & set(seen.tags)
    assert not any(name.startswith("on") for name in seen.attributes)
    assert "\u202e" not in html
    assert "U+202E" in html
    assert "33.33 %" in html
    assert not re.search(r"(src|href|url\()\s*=?\s*[\"']?(https?:)?//", html)


def test_a_line_without_any_value_is_drawn_flat():
    assert 'height="0.0"' in page(Sparklines(title="t", lines=(spark(observed=(0, 0)),)))


def test_both_figures_have_a_canonical_form():
    answers = {0: answer(success=False, unexpected=1, elements=1, missing=0)}
    (bars,) = validation_figures(suite(RANGE), answers)
    assert isinstance(bars, Bars)
    assert bars.to_json()["bars"][0]["expected"] == 0
