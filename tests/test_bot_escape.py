"""What people typed, shown: nothing in it may act."""

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.escape import code, code_block, cut_utf16, escape, one_line, utf16_length

MENTION = re.compile(r"@everyone|@here|<@[!&]?\d|<#\d|</|<a?:\w|<t:|<id:|<sound:", re.I)
NASTY = (
    "@everyone",
    "@here",
    "@EVERYONE",
    "<@123>",
    "<@!123>",
    "<@&123>",
    "<#123>",
    "</imagine:123>",
    "<:x:123>",
    "<a:x:123>",
    "<t:1:R>",
    "<id:browse>",
    "[a](https://evil.example)",
    "https://x.y",
    "<https://x.y>",
    "discord.gg/abc",
    "```",
    "``",
    "`",
    "**",
    "__",
    "~~",
    "||",
    "*",
    "_",
    "# ",
    "-# ",
    "> ",
    ">>> ",
    "- ",
    "1. ",
    "\\",
    "\\`",
    "\n",
    "\r",
    "\t",
    "\u2028",
    "\u202e",
    "\u2066",
    "\u200b",
    "\u200d",
    "\u2060",
    "\ufeff",
    "\u00ad",
    "\u034f",
    "\u3164",
    "\x00",
    "\x1b[31m",
    "\ud800",
    "\U000e0041",
    "e\u0301",
    "👨\u200d👩",
    "👍🏽",
    "🦊",
    "猫",
    "cat",
)
ANY = st.text(alphabet=st.characters(exclude_categories=()), max_size=80)
HEAPS = st.lists(st.sampled_from(NASTY) | ANY, max_size=30).map("".join)


def visible(text: str) -> bool:
    """Say whether a text has no sign that acts without being seen."""
    return not any(unicodedata.category(sign) in {"Cc", "Cf", "Zl", "Zp", "Cs"} for sign in text)


def undone(text: str) -> str:
    """Take the backslashes off again, as Discord does when it shows a message."""
    return re.sub(r"\\([\\*_~|`>#\[\]()<.+-])", r"\1", text)


def live_markup(text: str) -> list[str]:
    """List the markup signs that no backslash stands before."""
    return re.findall(r"[*_~|`>#\[\]()<]", re.sub(r"\\.", "", text))


@given(HEAPS)
@settings(max_examples=500, deadline=None)
def test_escaped_text_is_inert(text: str) -> None:
    shown = escape(text)
    assert not live_markup(shown)
    assert not MENTION.search(shown)
    assert "://" not in shown
    assert not re.match(r"[-+]|\d+[.)]", shown)
    assert visible(shown)
    assert len(shown.splitlines()) <= 1
    assert len(undone(shown)) <= 200
    assert utf16_length(shown) <= 800
    shown.encode("utf-8")


@given(HEAPS)
@settings(max_examples=500, deadline=None)
def test_code_cannot_be_left(text: str) -> None:
    shown = code(text)
    assert shown[0] == shown[-1] == "`"
    assert len(shown) > 2
    assert "`" not in shown[1:-1]
    assert not MENTION.search(shown)
    assert "://" not in shown
    assert visible(shown)
    assert len(shown) <= 202


@given(HEAPS, st.integers(10, 500))
@settings(max_examples=200, deadline=None)
def test_a_code_block_cannot_be_left(text: str, limit: int) -> None:
    shown = code_block(text, limit)
    assert shown.startswith("```\n")
    assert shown.endswith("\n```")
    assert "`" not in shown[3:-3]
    assert not MENTION.search(shown)
    assert utf16_length(shown) <= limit + 8


@given(ANY, st.integers(1, 60))
def test_cutting_counts_utf16_and_parts_no_character(text: str, limit: int) -> None:
    cut = cut_utf16(text, limit)
    assert len(cut.encode("utf-16-le", "surrogatepass")) // 2 == utf16_length(cut) <= limit
    if utf16_length(text) <= limit:
        assert cut == text
    else:
        assert cut.endswith("…")
        assert text.startswith(cut[:-1])


def test_plain_words_stay_as_they_are() -> None:
    for text in ("a red heart, 4k", "夏の猫", "Ärger mit 🦊", "ar 3:2 -- a & b / c"):
        assert escape(text) == text
        assert code(text) == f"`{text}`"


def test_what_is_shown_can_still_be_read() -> None:
    assert escape("I <3 *you* @home") == r"I \<3 \*you\* @home"
    assert escape("@everyone <@1>") == r"＠everyone ‹＠1\>"
    assert escape("[x](https://y.z)") == r"\[x\]\(https:⁄⁄y.z\)"
    assert escape("1. first") == r"1\. first"
    assert escape("- item") == r"\- item"
    assert code("a `b` c") == "`a ˋbˋ c`"
    assert code("") == code(" \u200b") == "` `"


def test_long_text_ends_with_an_ellipsis() -> None:
    assert one_line("x" * 200) == "x" * 200
    assert one_line("x" * 201) == "x" * 199 + "…"
    assert one_line("a b" * 100, 3) == "a…"


@pytest.mark.parametrize("pair", ["e\u0301", "👍🏽", "❤\ufe0f"])
def test_a_cut_parts_no_accent_from_its_letter(pair: str) -> None:
    text = "x" * 198 + pair + "y" * 10
    assert one_line(text) == "x" * 198 + "…"
    assert cut_utf16(text, 200 + (pair[0] > "\uffff")) == "x" * 198 + "…"


def test_a_heap_of_accents_alone_is_cut_too() -> None:
    assert len(one_line("\u0301" * 1000)) <= 200
    assert utf16_length(cut_utf16("\u0301" * 1000, 50)) <= 50


def test_new_emoji_that_python_does_not_know_yet_are_kept() -> None:
    assert escape("\U0001fae8\U0001fadf") == "\U0001fae8\U0001fadf"
