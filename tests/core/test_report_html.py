"""The HTML page: everything escaped, nothing asked of any server."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

from sluicegate.model import Check, Finding, Report, RowId, RunIdentity, Verdict
from sluicegate.reports.html import render_report

ATTACK = "</style><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}"


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = set()
        self.attributes = {}

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.attributes.update(attrs)


def render(report, **options):
    document = {
        "stage": "scan",
        "version": "1",
        "configuration": {"label": ATTACK},
        "subject": {"digest": "sha256:" + "0" * 64, "files": 1, "bytes": 10},
        **report.to_json(),
    }
    return render_report(
        document,
        uri=ATTACK,
        verdict=Verdict.QUARANTINE,
        reasons=(ATTACK,),
        issued=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
        run=RunIdentity(orchestrator="cli", labels={ATTACK: ATTACK}),
        **options,
    )


def hostile():
    finding = Finding(
        message=ATTACK,
        rows=tuple(RowId(ATTACK, n) for n in (1, 2, 3, 7)),
        files=(ATTACK,),
        evidence={ATTACK: [ATTACK]},
    )
    return Report(
        checks=(
            Check.failed("area.thing", [finding], target=ATTACK),
            Check.unknown("area.other", ATTACK),
        ),
        tables={ATTACK: ({ATTACK: ATTACK, "n": 1.5},)},
        metrics={ATTACK: 1},
    )


def test_every_value_that_an_attacker_chooses_is_escaped():
    page = render(hostile())
    tags = Tags()
    tags.feed(page)
    assert not tags.seen & {"script", "img", "iframe", "object", "link", "base", "form", "svg"}
    assert not any(name.startswith("on") for name in tags.attributes)
    assert "alert(1)" in page
    assert "49" not in page


def test_the_page_asks_no_server_for_anything():
    page = render(hostile())
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href|url\()\s*=?\s*[\"']?(https?:)?//", page)


def test_hidden_characters_are_shown_in_every_field():
    finding = Finding(
        message="tur\u202ened", files=("a\u200b.csv",), evidence={"b\u2066": "c\u2069"}
    )
    page = render(
        Report(
            checks=(Check.failed("area.thing", [finding], target="d\u200f"),),
            tables={"e\u202d": ({"f\u202b": "g\u00ad"},)},
            metrics={"h\u2028": 1},
        )
    )
    assert not set("\u202e\u200b\u2066\u2069\u200f\u202d\u202b\u00ad\u2028") & set(page)
    assert "tur⟨U+202E⟩ned" in page


def test_a_report_without_figures_has_no_style_for_them():
    page = render(Report(checks=(Check.passed("area.thing"),)))
    assert "<figure" not in page
    assert "--s1" not in page


def test_rows_are_shown_as_ranges():
    assert "1-3, 7" in render(hostile())


def test_long_lists_are_cut_and_say_so():
    findings = [Finding(message=f"finding {n}") for n in range(150)]
    page = render(
        Report(
            checks=(Check.failed("area.thing", findings),),
            tables={"t": tuple({"n": n} for n in range(600))},
        )
    )
    assert "100 of 150 findings" in page
    assert "500 of 600 rows" in page


def test_a_clean_report_renders_without_findings():
    page = render(Report(checks=(Check.passed("area.thing"),)))
    assert "<h2>Findings</h2>" not in page
    assert "2030-01-02 03:04:05 UTC" in page
