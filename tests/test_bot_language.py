"""Sentences in other languages: found, filled, and English where there is no translation."""

import asyncio

import pytest

from bot.language import language_of, languages, speaking, spoken, tr, trn


def test_english_is_what_the_code_says() -> None:
    assert tr("A {thing} of {count:,}", thing="queue", count=1200) == "A queue of 1,200"
    assert trn("one job", "{count} jobs", 1) == "one job"
    assert trn("one job", "{count} jobs", 3) == "3 jobs"


def test_japanese_comes_from_its_file() -> None:
    assert "ja" in languages()
    with speaking("ja"):
        assert tr("Cancelled.") == "キャンセルしました。"
        assert tr("no such sentence {n}", n=1) == "no such sentence 1"
    assert tr("Cancelled.") == "Cancelled."


@pytest.mark.parametrize(
    ("locale", "language"),
    [("ja", "ja"), ("en-GB", "en"), ("xx", "en"), ("", "en"), (None, "en"), ("ja-JP", "ja")],
)
def test_a_locale_finds_its_language(locale: str | None, language: str) -> None:
    assert language_of(locale) == language


async def test_a_task_speaks_the_language_it_was_started_in() -> None:
    async def later() -> str:
        await asyncio.sleep(0)
        return spoken()

    with speaking("ja"):
        task = asyncio.create_task(later())
    assert await later() == "en"
    assert await task == "ja"
