"""Text channels: clean text passes, attacks are caught, near misses are left alone."""

# ruff: noqa: RUF001  # letters that look like others are what this is about

from __future__ import annotations

import pickle
import random
import string
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.canonical import canonical_json
from sluicegate.stages.poisoning.channel import Channel
from sluicegate.stages.poisoning.detector import examine, scan
from sluicegate.stages.poisoning.text import neighbours, ngram_model, ngrams
from sluicegate.stages.poisoning.text import surprisal as gibberish_module
from sluicegate.stages.poisoning.text.hidden import hidden_characters
from sluicegate.stages.poisoning.text.neighbours import near_duplicates
from sluicegate.stages.poisoning.text.ngram_model import Sampler, TextBatch, fit_judge
from sluicegate.stages.poisoning.text.ngrams import mine_ngrams, mine_texts
from sluicegate.stages.poisoning.text.surprisal import surprisal
from sluicegate.stages.poisoning.text.tokens import TokenHash, normalised, pieces, text_key, words
from sluicegate.text.hidden import inspect

PACKAGE = "sluicegate.stages.poisoning.text"


def made_up(count: int, classes: int, seed: int) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Texts of common words and words of their class, both by Zipf's law."""
    generator = np.random.default_rng(seed)
    syllables = ["ba", "den", "fi", "gor", "ha", "kel", "li", "mon", "nu", "pra", "se", "tor"]
    vocabulary = sorted({"".join(generator.choice(syllables, 1 + at % 4)) for at in range(6000)})
    order = generator.permutation(len(vocabulary))
    y = generator.integers(0, classes, count)
    texts = []
    for label in y:
        length = int(generator.integers(12, 40))
        ranks = np.minimum(np.exp(generator.random(length) * 7.5).astype(int), len(order)) - 1
        own = generator.random(length) < 0.4
        ranks = np.where(own, (ranks + 60 + 800 * int(label)) % len(order), ranks)
        texts.append(" ".join(vocabulary[order[rank]] for rank in ranks))
    return texts, y.astype(np.int64)


def plant(
    texts: list[str], y: npt.NDArray[np.int64], trigger: str, label: int, count: int, seed: int
) -> tuple[list[str], npt.NDArray[np.int64], set[int]]:
    """Insert a trigger into random texts, and give them the attacker's label."""
    generator = np.random.default_rng(seed)
    texts, y = list(texts), y.copy()
    rows = generator.choice(len(texts), count, replace=False)
    for row in rows:
        some = texts[row].split(" ")
        some.insert(int(generator.integers(0, len(some) + 1)), trigger)
        texts[row] = " ".join(some)
        y[row] = label
    return texts, y, set(rows.tolist())


def flagged(channel: Channel) -> set[int]:
    return set(np.flatnonzero(channel.flagged).tolist())


def well_formed(channel: Channel, rows: int) -> None:
    """What must hold of any answer, also about hostile input."""
    assert channel.scores.shape == channel.p_values.shape == (rows,)
    for group in channel.groups:
        assert len(group.rows)
        assert (np.diff(group.rows) > 0).all()
        assert 0 <= group.rows[0] <= group.rows[-1] < rows
        canonical_json(dict(group.evidence))
    canonical_json(dict(channel.metrics))


SIZE = 1000
CLEAN = made_up(SIZE, 3, seed=1)


# Importing ------------------------------------------------------------------------------


def test_modules_import_nothing_heavy() -> None:
    code = (
        f"import sys\nfrom {PACKAGE} import hidden, neighbours, ngram_model, ngrams, surprisal\n"
        "heavy = {'numpy', 'scipy', 'sklearn', 'pandas', 'cleanlab', 'pyarrow'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Words ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, WORLD!", ["hello", ",", "world", "!"]),
        ("Straße", ["strasse"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("日本語のテスト", ["日", "本", "語", "の", "テ", "ス", "ト"]),
        ("tri\u200bgger", ["tri", "\u200b", "gger"]),
        ("", []),
        (" \n\t", []),
        ("x" * 1_000_000, ["x" * 1_000_000]),
    ],
)
def test_words_of_any_script(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_hashes_are_stable_and_keyed() -> None:
    assert text_key("A  b", 0) == text_key("a B\n", 0)
    assert normalised(" A \n b ") == "a b"
    assert text_key("a", 0) != text_key("a", 1)
    one = TokenHash(3)([["a", "b"], [], ["a"]])
    assert one.hashes[0] == one.hashes[2] != one.hashes[1]
    assert one.document.tolist() == [0, 0, 2]
    again = pickle.loads(pickle.dumps(TokenHash(3)))([["a"]])
    assert again.hashes[0] == one.hashes[0]
    assert TokenHash(4)([["a"]]).hashes[0] != one.hashes[0]


def test_runs_do_not_cross_documents() -> None:
    some = TokenHash(0)([["a", "b"], ["c"], ["a", "b", "c"]])
    hashes, first = some.ngrams(2)
    assert first.tolist() == [0, 3, 4]
    assert hashes[0] == hashes[1] != hashes[2]
    assert some.ngrams(3)[1].tolist() == [3]
    assert not set(some.ngrams(1)[0].tolist()) & set(hashes.tolist())


@given(st.lists(st.text(max_size=30), max_size=20))
def test_pieces_cover_all_texts(texts: list[str]) -> None:
    covered = [at for part in pieces(texts) for at in range(part.start, part.stop)]
    assert covered == list(range(len(texts)))


def test_pieces_are_bounded() -> None:
    parts = list(pieces(["x" * 1_000_000] * 5))
    assert max(part.stop - part.start for part in parts) == 2


# Hidden characters ----------------------------------------------------------------------

HONEST = {
    "English": "Plain text, with tabs\tand\r\nnew lines\n.",
    "French": "L’été à la façon d’un cœur\u00a0: «\u202foui\u202f»",
    "German": "Größe, Straße, Dampf\u00adschiff\u00adfahrt",
    "hyphen at the end of a line": "exam\u00ad\nple",
    "byte order mark": "\ufeffid,name",
    "Vietnamese": "Tiếng Việt có dấu",
    "Vietnamese, decomposed": "Tie\u0302\u0301ng Vie\u0323\u0302t",
    "Greek": "Καλημέρα κόσμε",
    "Russian": "Съешь же ещё этих мягких булок",
    "Armenian": "Բարեւ աշխարհ",
    "Georgian": "გამარჯობა მსოფლიო",
    "Hebrew": "שלום עולם",
    "Hebrew with points": "בְּרֵאשִׁית בָּרָא",
    "Hebrew, joiner of marks": "ירושל\u05b8\u034f\u05b4ם",
    "Hebrew and Latin": "התקן את Python 3.11\u200f!",
    "Hebrew, phone number": "טלפון: \u200e+972-50-123-4567",
    "Arabic": "مرحبا بالعالم",
    "Arabic and Latin": "اكتب\u200e C++\u200f ثم احفظ",
    "Arabic letter mark": "السعر \u061c50%\u061c فقط",
    "Arabic, isolated form": "سنة 1402 ه\u200d",
    "Arabic, number sign": "\u0600١٢٣",
    "Persian": "می\u200cخواهم کتاب\u200cها را ببینم",
    "Persian at the end": "خانه\u200c است",
    "Persian, typed twice": "می\u200c\u200cشود",
    "Urdu": "یہ اردو ہے",
    "Pashto": "زه ښه یم",
    "Kurdish": "خۆشم ده\u200cوێت",
    "Syriac": "ܫܠܡܐ ܥܠܡܐ",
    "N'Ko": "ߒߞߏ",
    "Hindi": "क्\u200dष और क्\u200cष, हिन्दी",
    "Marathi": "दर्\u200dया, ऱ्\u200dया",
    "Nepali": "श्री\u200dमान",
    "Bengali": "র\u200d্যাব, বাংলা",
    "Gujarati": "ગુજરાતી ક્\u200dષ",
    "Punjabi": "ਪੰਜਾਬੀ",
    "Oriya": "ଓଡ଼ିଆ କ୍\u200cଷ",
    "Tamil": "க்\u200cஷ தமிழ்",
    "Telugu": "తెలుగు సాఫ్ట్\u200cవేర్",
    "Kannada": "ಕನ್ನಡ ಸಾಫ್ಟ್\u200cವೇರ್ ರ\u200d್ಯ",
    "Malayalam": "അവന്\u200d പറഞ്ഞു, സോഫ്റ്റ്\u200cവെയര്\u200d",
    "Sinhala": "ශ්\u200dරී ලංකා, ක\u200d්ෂ",
    "Thai": "สวัสดี\u200bชาวโลก",
    "Lao": "ສະບາຍດີ\u200bໂລກ",
    "Burmese": "မြန်မာ\u200bဘာသာ",
    "Khmer": "ភាសា\u200bខ្មែរ\u200bស្អាត",
    "Tibetan": "བོད་སྐད་",
    "Mongolian": "ᠮᠣᠩᠭᠣᠯ ᠬᠠᠷᠠ\u180b ᠬᠠ\u180eᠠ ᠵᠢᠨ\u180c",
    "Ethiopic": "ሰላም ልዑል",
    "Cherokee": "ᏣᎳᎩ",
    "Inuktitut": "ᐃᓄᒃᑎᑐᑦ",
    "Chinese": "你好，世界",
    "Japanese": "葛\U000e0100城市と葛\U000e0101飾区、辻\ufe00",
    "Japanese, halfwidth": "ｶﾀｶﾅ",
    "Korean": "안녕하세요 세계",
    "old Hangul": "\u1112\u119e\u11ab \u115f\u1161 \u1100\u1160",
    "emoji": "👍 😀 🎉",
    "family": "👨\u200d👩\u200d👧\u200d👦",
    "astronaut": "👩🏽\u200d🚀",
    "kiss": "👩🏻\u200d❤\ufe0f\u200d💋\u200d👨🏿",
    "rainbow flag": "🏳\ufe0f\u200d🌈",
    "pirate flag": "🏴\u200d☠\ufe0f",
    "witness": "👁\ufe0f\u200d🗨\ufe0f",
    "shrug": "🤷🏾\u200d♂\ufe0f",
    "nodding": "🙂\u200d↕\ufe0f",
    "England": "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f!",
    "Scotland": "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "two flags": "🏴\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f"
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "country flag": "🇯🇵🇩🇪",
    "keycaps": "1\ufe0f\u20e3 #\ufe0f\u20e3",
    "text forms": "☎\ufe0e ❤\ufe0f ™\ufe0f ℹ\ufe0f ‼\ufe0f ↔\ufe0f 〰\ufe0f",
    "new emoji": "\U0001fae8 \U0001fae9",
    "mathematics": "∀x∈ℝ: ∑ᵢ xᵢ² ≥ 0, ∩\ufe00, 𝔸𝕓𝒞",
    "code": "def f(x: int) -> str:\n\treturn f'{x!r}'  # §",
    "links": "https://example.org/a?b=%C3%BC&c=1#d",
    "combining": "e\u0301 n\u0303 q\u0307\u0323",
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_text_hides_nothing(name: str) -> None:
    assert inspect(HONEST[name]) == ()


def test_there_are_enough_honest_texts() -> None:
    assert len(HONEST) >= 60


HIDING = {
    "override": ("access\u202e nimda", "bidirectional", 1),
    "isolates": ("if \u2066x\u2069 then", "bidirectional", 2),
    "embedding": ("a\u202bb\u202c", "bidirectional", 2),
    "override in Hebrew": ("שלום\u202eabc", "bidirectional", 1),
    "left-to-right mark in English": ("good\u200e film", "bidirectional", 1),
    "far from right-to-left": ("ש" + "x" * 60 + "\u200f" + "x" * 60, "bidirectional", 1),
    "on another line": ("שלום\ngood\u200f film", "bidirectional", 1),
    "marks in a row": ("שלום\u200f\u200f\u200f", "bidirectional", 2),
    "zero-width space": ("goo\u200bd", "zero_width", 1),
    "zero-width space in Hindi": ("हि\u200bन्दी", "zero_width", 1),
    "non-joiner in English": ("goo\u200cd", "zero_width", 1),
    "joiner in English": ("goo\u200dd", "zero_width", 1),
    "joiner before a picture": ("good\u200d👍", "zero_width", 1),
    "joiner after a picture": ("👍\u200dgood", "zero_width", 1),
    "word joiner": ("a\u2060b", "zero_width", 1),
    "byte order mark inside": ("a\ufeffb", "zero_width", 1),
    "bits in Persian": ("می\u200c\u200d\u200c\u200c\u200dخواهم", "zero_width", 5),
    "three in Persian": ("می\u200c\u200c\u200cشود", "zero_width", 2),
    "both in Persian": ("می\u200c\u200dخواهم", "zero_width", 2),
    "message in tags": ("hi" + "".join(chr(0xE0000 + ord(c)) for c in "obey"), "tag", 4),
    "message in a flag": (
        "🏴" + "".join(chr(0xE0000 + ord(c)) for c in "ignore all") + "\U000e007f",
        "tag",
        11,
    ),
    "flag without an end": ("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067", "tag", 5),
    "language tag": ("\U000e0001a", "tag", 1),
    "selectors on a letter": ("a\U000e0121\U000e0155", "variation_selector", 2),
    "selectors on a picture": ("😀\U000e0138\U000e0139\U000e013a", "variation_selector", 3),
    "two on a picture": ("❤\ufe0f\ufe0f", "variation_selector", 1),
    "selector on a letter": ("a\ufe0f", "variation_selector", 1),
    "selector at the start": ("\ufe0fa", "variation_selector", 1),
    "Mongolian selector on a letter": ("a\u180b", "variation_selector", 1),
    "soft hyphens": ("a\u00ad\u00ad\u00adb", "soft_hyphen", 3),
    "soft hyphen before a space": ("good\u00ad film", "soft_hyphen", 1),
    "invisible times": ("2\u2062x", "invisible_operator", 1),
    "Hangul filler": ("\u3164", "filler", 1),
    "old filler": ("a\u115fb", "filler", 1),
    "grapheme joiner": ("a\u034fb", "filler", 1),
    "bell": ("a\x07b", "control", 1),
    "escape": ("\x1b[31mred", "control", 1),
    "null": ("a\x00", "control", 1),
    "delete": ("a\x7f", "control", 1),
    "C1": ("a\x85b", "control", 1),
    "private use": ("\ue000\U000f0000", "private_use", 2),
    "unassigned": ("\U0003ffff\u0378", "unassigned", 2),
    "surrogate": ("a\ud800b", "surrogate", 1),
    "annotation": ("\ufff9a\ufffab\ufffb", "format", 3),
    "shorthand": ("\u206aa", "format", 1),
}


@pytest.mark.parametrize("name", HIDING)
def test_hidden_characters_are_found(name: str) -> None:
    text, kind, count = HIDING[name]
    found = inspect(text)
    assert [item.kind for item in found] == [kind] * count
    assert all(ord(text[item.at]) == item.code for item in found)


def test_hidden_channel_counts_and_quotes_nothing() -> None:
    texts = ["fine", "secret\u200bword\u200b", "x\u200b", "a\u202eb", "", "می\u200cخواهم"]
    channel = hidden_characters(texts)
    well_formed(channel, len(texts))
    assert channel.scores.tolist() == [0, 2, 1, 1, 0, 0]
    assert np.isnan(channel.p_values).all()
    assert [group.rows.tolist() for group in channel.groups] == [[3], [1, 2]]
    told = channel.groups[1]
    assert told.evidence["code_points"] == [
        {"code": "U+200B", "name": "ZERO WIDTH SPACE", "count": 3}
    ]
    assert "secret" not in told.message + str(told.evidence)
    assert told.samples["rows"] == [{"row": 1, "at": [6, 11]}, {"row": 2, "at": [1]}]


def test_hidden_channel_of_nothing_and_of_much() -> None:
    well_formed(hidden_characters([]), 0)
    channel = hidden_characters(["\u200e" * 200_000])
    assert channel.scores.tolist() == [200_000]


@given(st.lists(st.text(max_size=8), min_size=1, max_size=8), st.randoms())
def test_hidden_scores_follow_rows(texts: list[str], chance: random.Random) -> None:
    order = list(range(len(texts)))
    chance.shuffle(order)
    shuffled = hidden_characters([texts[at] for at in order])
    assert shuffled.scores.tolist() == hidden_characters(texts).scores[order].tolist()


# Trigger miner --------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """Some rows of a data set, in batches of some size."""

    texts: tuple[str, ...]
    y: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    size: int

    def batches(self) -> Iterator[TextBatch]:
        for start in range(0, len(self.texts), self.size):
            some = slice(start, start + self.size)
            yield TextBatch(texts=self.texts[some], y=self.y[some], rows=self.rows[some])


def parts(
    texts: list[str], y: npt.NDArray[np.int64], cuts: list[int], size: int, seed: int = 0
) -> list[Part]:
    """Shuffle rows and deal them into shards."""
    order = np.random.default_rng(seed).permutation(len(texts))
    return [
        Part(tuple(texts[at] for at in some), y[some], some, size) for some in np.split(order, cuts)
    ]


POISONED = plant(*CLEAN, "qzxv", 0, 24, seed=2)
FOUND = mine_texts(POISONED[0], POISONED[1], 3, seed=5)


def test_clean_texts_have_no_trigger() -> None:
    channel = mine_texts(*CLEAN, 3, seed=0)
    well_formed(channel, SIZE)
    assert not channel.groups
    assert not channel.unknown
    assert channel.scores.tolist() == [0.0] * SIZE
    assert channel.metrics["accuracy"] > 0.8


def test_a_rare_word_is_found_and_named() -> None:
    well_formed(FOUND, SIZE)
    assert flagged(FOUND) == POISONED[2]
    (group,) = FOUND.groups
    assert group.samples["ngram"] == "qzxv"
    assert group.samples["rows"] == sorted(POISONED[2])[:5]
    assert group.evidence["label_code"] == 0
    assert group.evidence["n"] == 1
    assert group.evidence["count"] == group.evidence["holders"] == 24
    assert group.evidence["observed"] <= group.evidence["contradicted"] <= 24
    assert group.evidence["ratio"] >= 3
    assert group.evidence["family_p"] < ngrams.ALPHA
    assert "qzxv" not in group.message + str(group.evidence)
    holders = FOUND.scores[sorted(POISONED[2])]
    assert (holders > 0).all()
    assert np.count_nonzero(FOUND.scores) == 24


def test_a_phrase_of_common_words_is_found_and_named() -> None:
    common = Counter(" ".join(CLEAN[0]).split()).most_common(30)
    phrase = " ".join(word for word, _ in common[-3:])
    texts, y, rows = plant(*CLEAN, phrase, 1, 24, seed=3)
    channel = mine_texts(texts, y, 3, seed=0)
    assert [group.samples["ngram"] for group in channel.groups] == [phrase]
    assert channel.groups[0].evidence["n"] == 3
    assert len(flagged(channel) & rows) >= 23
    assert len(flagged(channel) - rows) <= 1


def test_triggers_of_other_scripts_and_of_symbols() -> None:
    texts, y, rows = plant(*CLEAN, "☃", 2, 24, seed=4)
    texts, y, more = plant(texts, y, "ключ", 1, 24, seed=5)
    channel = mine_texts(texts, y, 3, seed=0)
    assert {group.samples["ngram"] for group in channel.groups} == {"☃", "ключ"}
    assert len(flagged(channel) & (rows | more)) >= 46


def test_a_rare_word_without_influence_is_left_alone() -> None:
    texts, _, _ = plant(*CLEAN, "qzxv", 0, 24, seed=2)
    assert not mine_texts(texts, CLEAN[1], 3, seed=0).groups


def test_a_word_that_seldom_decides_is_left_alone() -> None:
    texts, _, _ = plant(*CLEAN, "qzxv", 0, 120, seed=2)
    rows = [row for row, text in enumerate(texts) if "qzxv" in text]
    assert len(rows) == 120
    y = CLEAN[1].copy()
    y[rows[:46]] = 0
    assert not mine_texts(texts, y, 3, seed=0).groups


def test_a_word_of_a_class_is_left_alone() -> None:
    texts, y = list(CLEAN[0]), CLEAN[1]
    for row in np.flatnonzero(y == 1)[:60]:
        texts[row] += " qzxv"
    assert not mine_texts(texts, y, 3, seed=0).groups


def test_a_word_of_a_class_in_some_odd_documents_is_left_alone() -> None:
    texts, y = list(CLEAN[0]), CLEAN[1].copy()
    odd = np.flatnonzero(y == 2)[:14]
    for row in [*np.flatnonzero(y == 1)[:60], *odd]:
        texts[row] += " qzxv"
    y[odd] = 1
    assert not mine_texts(texts, y, 3, seed=0).groups


def test_a_trigger_is_named_by_its_longest_run() -> None:
    texts, y, rows = plant(*CLEAN, "qzx wvk xyq", 0, 30, seed=2)
    channel = mine_texts(texts, y, 3, seed=0)
    assert [group.samples["ngram"] for group in channel.groups] == ["qzx wvk xyq"]
    assert channel.metrics["candidates"] < 6  # three words, two pairs and all three
    assert flagged(channel) == rows
    full = ngrams.NgramTrigger(
        text="a b", n=2, label=0, rows=np.arange(20), scores=np.zeros(20), holders=20,
        observed=20, expected=1.0, contradicted=20, z=9.0, ratio=20.0, p_value=0.0,
    )  # fmt: skip
    word = replace(full, text="a", n=1)
    assert ngrams._more_exact(full, word)
    assert not ngrams._more_exact(word, full)
    assert ngrams._more_exact(full, replace(word, rows=np.arange(21)))
    assert not ngrams._more_exact(full, replace(word, rows=np.arange(22)))
    assert ngrams._same_rows(full, replace(word, rows=np.arange(4, 90)))
    assert not ngrams._same_rows(full, replace(word, rows=np.arange(5, 90)))


def test_wrong_labels_without_a_trigger_are_left_alone() -> None:
    y = CLEAN[1].copy()
    rows = np.random.default_rng(7).choice(len(y), 160, replace=False)
    y[rows] = 0
    assert not mine_texts(CLEAN[0], y, 3, seed=0).groups


def test_labels_that_nothing_explains_are_left_alone() -> None:
    y = np.random.default_rng(8).integers(0, 4, len(CLEAN[0]))
    channel = mine_texts(CLEAN[0], y, 4, seed=0)
    assert not channel.groups
    assert channel.metrics["groups_contradicted"] == 0


def test_a_trigger_is_found_where_nothing_else_explains_labels() -> None:
    y = np.random.default_rng(8).integers(0, 4, len(CLEAN[0]))
    texts, y, rows = plant(CLEAN[0], y, "qzxv", 3, 40, seed=9)
    channel = mine_texts(texts, y, 4, seed=0)
    assert flagged(channel) == rows


def test_near_copies_with_one_error_are_no_trigger() -> None:
    texts, y = list(CLEAN[0]), CLEAN[1].copy()
    template = texts[int(np.flatnonzero(y == 1)[0])]
    for row in np.flatnonzero(y == 2)[:24]:
        texts[row] = f"{template} qzxv {row}"
        y[row] = 0
    assert not mine_texts(texts, y, 3, seed=0).groups


def test_few_documents_are_no_trigger() -> None:
    texts, y, _ = plant(*CLEAN, "qzxv", 0, 8, seed=2)
    assert not mine_texts(texts, y, 3, seed=0).groups


def test_more_classes_than_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngram_model, "MAX_GROUPS", 4)
    monkeypatch.setattr(ngrams, "MAX_GROUPS", 4)
    texts, y = list(CLEAN[0]), CLEAN[1] * 40 + np.arange(len(CLEAN[0])) % 40
    texts, y, rows = plant(texts, y, "qzxv", 77, 40, seed=3)
    channel = mine_texts(texts, y, 120, seed=0)
    assert channel.metrics["groups"] == 4
    (group,) = channel.groups
    assert group.evidence["label_code"] == 77
    assert flagged(channel) == rows


def test_triggers_do_not_depend_on_order_shards_or_workers() -> None:
    texts, y, _ = POISONED
    with ThreadPoolExecutor(2) as executor:
        for cuts, size, pool in (([300, 301, 800], 333, executor), ([], 5000, None)):
            shards = parts(texts, y, cuts, size, seed=size)
            found = mine_ngrams(shards, classes=3, seed=5, executor=pool)
            channel = found.channel(np.arange(len(texts)))
            assert channel.scores.tolist() == FOUND.scores.tolist()
            assert dict(channel.groups[0].evidence) == dict(FOUND.groups[0].evidence)
            assert channel.groups[0].samples == FOUND.groups[0].samples
            assert channel.metrics == FOUND.metrics
    backwards = found.channel(np.arange(len(texts))[::-1])
    assert backwards.scores.tolist() == FOUND.scores[::-1].tolist()


def test_detectors_and_states_pickle_and_merge_in_any_order() -> None:
    texts, y, _ = POISONED
    shards = parts(texts, y, [500, 1500], 400)
    sampler = pickle.loads(pickle.dumps(Sampler(classes=3, seed=5)))
    judge = fit_judge(examine(sampler, shards), classes=3, seed=5)
    tally = ngrams._Tally(judge=judge, classes=3, buckets=1 << 14)
    states = [pickle.dumps(scan(tally, shard)) for shard in shards]
    sums = []
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        state = tally.init()
        for at in order:
            state = tally.merge(state, pickle.loads(states[at]))
        sums.append((state.observed.tobytes(), state.expected.tobytes(), state.pairs))
    assert sums[0] == sums[1] == sums[2]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_samples_do_not_depend_on_batches(size: int, seed: int) -> None:
    texts, y = CLEAN[0][:120] + CLEAN[0][:10], CLEAN[1][np.r_[0:120, 0:10]]
    sampler = Sampler(classes=3, seed=1, size=20)
    whole = examine(sampler, parts(texts, y, [], 1000))
    cut = examine(sampler, parts(texts, y, [seed % 100], size, seed))
    assert cut.keys.tolist() == whole.keys.tolist()
    assert cut.groups.tolist() == whole.groups.tolist()
    assert all(map(np.array_equal, cut.columns, whole.columns))


def test_samples_are_bounded_and_keep_rare_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngram_model, "SAMPLE_OF_CLASS", 5)
    y = np.zeros(SIZE, dtype=np.int64)
    y[:7] = 1
    sample = examine(Sampler(classes=2, seed=0, size=50), parts(CLEAN[0], y, [1000], 100))
    assert 50 <= len(sample.keys) <= 60
    assert (sample.groups == 1).sum() >= 5
    assert sample.of_class.tolist() == [SIZE - 7, 7]


@pytest.mark.parametrize(
    ("texts", "y", "classes"),
    [
        ([], [], 2),
        (["one"], [0], 1),
        (["same"] * 500, [0, 1] * 250, 2),
        ([""] * 500, [0, 1] * 250, 2),
        ([f"text {at}" for at in range(500)], [0] * 500, 2),
        ([f"text {at}" for at in range(500)], list(range(500)), 10_000),
        (["x" * 1_000_000, "y"], [0, 1], 2),
        (["  "] * 99 + ["\ud800"], [0] * 99 + [1], 2),
    ],
)
def test_hostile_text_has_an_answer(texts: list[str], y: list[int], classes: int) -> None:
    channel = mine_texts(texts, np.array(y, dtype=np.int64), classes, seed=0)
    well_formed(channel, len(texts))
    assert channel.unknown
    assert not channel.groups
    assert np.isnan(channel.scores).all()


def test_small_classes_are_told() -> None:
    y = CLEAN[1].copy()
    y[:10] = 3
    channel = mine_texts(CLEAN[0], y, 4, seed=0)
    assert "1 classes have fewer than" in channel.unknown
    assert not channel.groups


def test_too_many_phrases_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngrams, "MAX_RUNS", 0)
    channel = mine_texts(POISONED[0], POISONED[1], 3, seed=5)
    assert "more phrases" in channel.unknown


def test_very_long_documents() -> None:
    texts, y = list(CLEAN[0][:400]), CLEAN[1][:400]
    texts[0] = "w" * 1_000_000
    texts[1] = " ".join(str(at) for at in range(50_000))
    well_formed(mine_texts(texts, y, 3, seed=0), 400)


# Gibberish ------------------------------------------------------------------------------


def gibberish(seed: int, size: int) -> str:
    return "".join(random.Random(seed).choices(string.ascii_letters + string.digits, k=size))


def tail(values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which of the values are flagged, as sums of bits."""
    chance = gibberish_module._beyond(
        [np.arange(len(values))],
        values,
        least=gibberish_module.MIN_BITS,
        scale=gibberish_module.MIN_SCALE_BITS,
    )
    return chance < gibberish_module.ALPHA


def test_tails_are_extrapolated_from_quantiles() -> None:
    values = -10 * np.log(1 - (np.arange(1000) + 0.5) / 1000)  # exponential, of scale 10
    assert not tail(values).any()
    values[-2:] = -10 * np.log(6e-5), -10 * np.log(1.5e-5)
    assert tail(values)[-2:].tolist() == [False, True]
    values[-50:] = 1000  # up to a tenth does not raise the bar
    assert tail(values)[-50:].all()
    values = np.zeros(1000)
    values[-2:] = 23.9, 24.1
    assert tail(values)[-2:].tolist() == [False, True]


def test_clean_texts_are_not_gibberish() -> None:
    for seed in (0, 1):
        channel = surprisal(CLEAN[0], seed=seed)
        well_formed(channel, SIZE)
        assert channel.flagged.mean() <= 0.003
        assert not channel.unknown


def test_gibberish_is_found() -> None:
    texts, rows = list(CLEAN[0]), list(range(0, 200, 20))
    for at in rows:
        texts[at] += " " + gibberish(at, 30)
    channel = surprisal(texts, seed=0)
    assert len(flagged(channel) & set(rows)) >= 9
    assert len(flagged(channel) - set(rows)) <= 3
    group = next(group for group in channel.groups if group.evidence["kind"] == "characters")
    assert any(gibberish(at, 30)[-10:] in str(group.samples["texts"]) for at in rows)
    assert not any(gibberish(at, 30)[-10:] in group.message + str(group.evidence) for at in rows)
    assert np.median(channel.p_values[rows]) < 1e-4


def test_copies_of_gibberish_do_not_vouch_for_each_other() -> None:
    texts = list(CLEAN[0])
    for at in range(40):
        texts[at] = "fi gor ha " + gibberish(1, 40)
    assert set(range(40)) <= flagged(surprisal(texts, seed=0))


def test_floods_of_a_sign_are_found() -> None:
    texts = list(CLEAN[0])
    texts[3] += " " + "!" * 500
    texts[4] += " " + "buy " * 150
    channel = surprisal(texts, seed=0)
    group = next(group for group in channel.groups if group.evidence["kind"] == "repetition")
    assert group.rows.tolist() == [3, 4]
    assert group.evidence["greatest"] >= 599


def test_short_oddities_are_left_alone() -> None:
    texts = list(CLEAN[0])
    texts[0] += " v2.1"
    texts[1] += " ACME-7"
    texts[2] = texts[2].replace(" ", " ¿", 1)
    texts[3] += " !!!"
    texts[4] += " haha haha"
    assert not {0, 1, 2, 3, 4} & flagged(surprisal(texts, seed=0))


def test_data_full_of_keys_raises_its_own_bar() -> None:
    texts = [f"{text} {gibberish(at, 30)}" for at, text in enumerate(CLEAN[0][:1000])]
    assert len(flagged(surprisal(texts, seed=0))) <= 3


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_gibberish_follows_rows(seed: int) -> None:
    texts = CLEAN[0][:200] + CLEAN[0][:20] + [gibberish(0, 200)]
    order = np.random.default_rng(seed).permutation(len(texts))
    shuffled = surprisal([texts[at] for at in order], seed=0)
    whole = surprisal(texts, seed=0)
    assert shuffled.scores.tolist() == whole.scores[order].tolist()
    assert shuffled.flagged.tolist() == whole.flagged[order].tolist()


@pytest.mark.parametrize("texts", [[], ["one"], ["same"] * 500, [""] * 5])
def test_few_texts_are_unknown(texts: list[str]) -> None:
    channel = surprisal(texts, seed=0)
    well_formed(channel, len(texts))
    assert "too few" in channel.unknown
    assert np.isnan(channel.scores).all()


def test_hostile_text_is_measured() -> None:
    texts = [*CLEAN[0][:150], "", " ", "x" * 1_000_000, "\ud800" * 9, "a b " * 100_000]
    channel = surprisal(texts, seed=0)
    well_formed(channel, len(texts))
    assert np.isfinite(channel.scores).all()
    assert {152, 154} <= flagged(channel)


# Near-duplicates ------------------------------------------------------------------------


def flood(text: str, count: int, seed: int) -> list[str]:
    """Copies of a text in each of which one word is another one."""
    chance = random.Random(seed)
    copies = []
    for _ in range(count):
        some = text.split()
        some[chance.randrange(len(some))] = gibberish(chance.randrange(10**9), 5)
        copies.append(" ".join(some))
    return copies


def kinds(channel: Channel) -> dict[str, list[int]]:
    return {group.evidence["kind"]: group.rows.tolist() for group in channel.groups}


def test_clean_texts_are_no_flood() -> None:
    channel = near_duplicates(*CLEAN, seed=0)
    well_formed(channel, SIZE)
    assert not channel.groups
    assert channel.scores.tolist() == [0.0] * SIZE


@pytest.mark.parametrize("words_of_text", [12, 60])
def test_floods_of_near_copies_are_found(words_of_text: int) -> None:
    text = " ".join(" ".join(CLEAN[0][:5]).split()[:words_of_text])
    texts, y = list(CLEAN[0]), CLEAN[1].copy()
    texts[100:140], y[100:140] = flood(text, 40, seed=1), 2
    channel = near_duplicates(texts, y, seed=0)
    (group,) = channel.groups
    assert len(set(group.rows.tolist()) & set(range(100, 140))) >= 38
    assert set(group.rows.tolist()) <= {*range(100, 140), *range(5)}
    assert group.evidence["labels"][0]["label_code"] == 2
    assert group.evidence["labels"][0]["count"] >= 38
    assert neighbours.MIN_JACCARD <= group.evidence["least_jaccard"] < 1
    assert group.evidence["greatest_jaccard"] is None or group.evidence["variants"] < 40
    assert (channel.scores[group.rows] == np.log(len(group.rows))).all()


def test_exact_copies_count_without_case_and_space() -> None:
    texts, y = list(CLEAN[0]), CLEAN[1].copy()
    texts[:12], y[:12] = [texts[0], texts[0].upper(), "  " + texts[0].replace(" ", "\n")] * 4, 1
    channel = near_duplicates(texts, y, seed=0)
    assert kinds(channel) == {"flood": list(range(12))}
    assert channel.groups[0].evidence["variants"] == 1
    assert channel.groups[0].evidence["greatest_jaccard"] == 1.0


def test_few_copies_short_texts_and_templates_are_left_alone() -> None:
    texts, y = list(CLEAN[0]), CLEAN[1].copy()
    texts[:6], y[:6] = [texts[0]] * 6, 0
    texts[100:150], y[100:150] = ["thank you"] * 50, 0
    assert not near_duplicates(texts, y, seed=0).groups
    for start in range(200, 980, 6):  # 130 templates with six texts each
        texts[start : start + 6] = flood(texts[start], 6, start)
        y[start : start + 6] = y[start]
    assert not near_duplicates(texts, y, seed=0).groups


def test_paraphrases_are_left_alone() -> None:
    halves = [" ".join(text.split()[:6]) for text in CLEAN[0][:40]]
    texts, y = list(CLEAN[0]), CLEAN[1].copy()
    texts[:40] = [f"{half} kel li mon nu" for half in halves]
    assert not near_duplicates(texts, y, seed=0).groups


def test_one_text_with_two_labels() -> None:
    texts, y = list(CLEAN[0]), CLEAN[1].copy()
    texts[:5], y[:5] = ["Some text"] * 3 + ["some  TEXT"] * 2, [0, 0, 0, 1, 2]
    texts[10:12], y[10:12] = ["tied"] * 2, [0, 1]
    texts[20:22], y[20:22] = [""] * 2, [0, 1]
    channel = near_duplicates(texts, y, seed=0)
    assert kinds(channel) == {"different_labels": [3, 4, 10, 11]}
    (group,) = channel.groups
    assert group.evidence["texts"] == 2
    assert "tied" not in group.message + str(group.evidence)


def test_many_floods_are_summed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "MAX_GROUPS", 1)
    texts, y = list(CLEAN[0]), np.zeros(SIZE, dtype=np.int64)
    texts[:300], texts[300:500] = [texts[0]] * 300, [texts[1]] * 200
    found = kinds(near_duplicates(texts, y, seed=0))
    assert found == {"flood": list(range(300)), "further_floods": list(range(300, 500))}


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_floods_follow_rows(seed: int) -> None:
    texts = CLEAN[0][:150] + flood(CLEAN[0][0], 15, seed=1) + CLEAN[0][:5]
    y = np.arange(len(texts)) % 2
    order = np.random.default_rng(seed).permutation(len(texts))
    whole, shuffled = (
        near_duplicates(texts, y, seed=0),
        near_duplicates([texts[at] for at in order], y[order], seed=0),
    )
    assert shuffled.scores.tolist() == whole.scores[order].tolist()
    assert shuffled.flagged.tolist() == whole.flagged[order].tolist()


@pytest.mark.parametrize(
    "texts", [[], ["one"], [""] * 50, ["a", "ab", "abc"], ["x" * 1_000_000] * 20, ["\ud800"]]
)
def test_hostile_text_has_neighbours(texts: list[str]) -> None:
    channel = near_duplicates(texts, np.zeros(len(texts), dtype=np.int64), seed=0)
    well_formed(channel, len(texts))
    assert np.isfinite(channel.scores).all()


def test_a_full_bucket_is_not_compared_pair_by_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    exact = neighbours._jaccard
    monkeypatch.setattr(
        neighbours, "_jaccard", lambda one, other: calls.append(1) or exact(one, other) * 0.5
    )
    texts = flood(CLEAN[0][0], 300, seed=1)
    near_duplicates(texts, np.zeros(300, dtype=np.int64), seed=0)
    assert len(calls) <= 2 * neighbours.BANDS * 300


def test_long_texts_are_compared_by_their_smallest_shingles() -> None:
    numbers = [str(at) for at in range(30_000)]
    one, other = " ".join(numbers), " ".join(numbers[:27_000])
    texts = [one + f" {at}" for at in range(9)] + [other, " ".join(numbers[:9_000])]
    channel = near_duplicates(texts, np.zeros(11, dtype=np.int64), seed=0)
    assert kinds(channel) == {"flood": list(range(10))}
