"""The page's files by themselves: what must hold whatever the browser does with them."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

import bot

PAGE = Path(bot.__file__).parent / "playground" / "page"
SCRIPTS = sorted(PAGE.glob("*.js"))
FILES = sorted(path for path in PAGE.iterdir() if path.is_file())
GROUNDS = ("ground", "side", "raised", "lifted")
WORDS = ("text", "soft", "faint", "accent", "link", "bad-text", "good-text")


def colours() -> dict[str, str]:
    """The colour tokens of the style sheet."""
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", (PAGE / "style.css").read_text()))


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("word", "ground"), list(product(WORDS, GROUNDS)))
def test_words_are_readable_on_every_ground(word: str, ground: str) -> None:
    tokens = colours()
    assert contrast(tokens[word], tokens[ground]) >= 4.5


@pytest.mark.parametrize(("fill", "word"), [("accent", "on-accent"), ("good", ""), ("bad", "")])
def test_words_are_readable_on_buttons(fill: str, word: str) -> None:
    tokens = colours()
    assert contrast(tokens[fill], tokens.get(word, "#ffffff")) >= 4.5


def test_an_outline_is_seen_on_its_ground() -> None:
    tokens = colours()
    assert contrast(tokens["edge"], tokens["ground"]) >= 3
    assert contrast(tokens["accent"], tokens["ground"]) >= 3


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.name))
def test_no_script_turns_text_into_markup(path: Path) -> None:
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc"
    assert re.search(ways, path.read_text()) is None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.name))
def test_nothing_is_fetched_from_elsewhere(path: Path) -> None:
    text = path.read_text().replace("http://www.w3.org/2000/svg", "")
    assert re.search(r"""(?:src|href|url|import|from)\s*[=(]?\s*["']?https?://""", text) is None
    assert "@import" not in text
    assert len(text.splitlines()) <= 400


def test_the_document_has_no_inline_script_or_style() -> None:
    text = (PAGE / "index.html").read_text()
    assert re.findall(r"<script(?![^>]* src=)", text) == []
    assert re.search(r"<style|\sstyle=|\son\w+=", text) is None


def test_every_import_leads_to_a_file() -> None:
    for path in SCRIPTS:
        for name in re.findall(r'from "\./([\w.]+)"', path.read_text()):
            assert (PAGE / name).is_file(), f"{path.name} imports {name}"
