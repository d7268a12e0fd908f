"""Notes, preferences, macros and favourites: what was written comes back, within its limits."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import (
    LONGEST_MACRO,
    LONGEST_NOTE,
    MOST_MACROS,
    InvalidEntry,
    Scope,
    Store,
    StoreDamaged,
    TooManyMacros,
    UnknownJob,
    new_job_id,
)
from storage import people as people_module
from tests.test_storage_support import Clock, make_posted, sql

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path, clock=Clock()) as found:
        yield found


async def test_a_note_comes_back_as_it_was_left(tmp_path: Path) -> None:
    text = "ein langer Text 長い文 " * 800
    async with await Store.open(tmp_path, clock=Clock()) as store:
        note_id = await store.people.note("permutation", 7, text)
    async with await Store.open(tmp_path) as store:
        found = await store.people.read_note(note_id)
        assert found is not None
        assert (found.id, found.kind, found.user_id, found.payload) == (
            note_id,
            "permutation",
            7,
            text,
        )
        assert found.created_at == Clock().now
        assert len(note_id) == 13
        for unknown in (new_job_id(), "", "' OR 1=1 --"):
            assert await store.people.read_note(unknown) is None


async def test_a_persons_oldest_notes_make_room(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people_module, "MOST_NOTES", 3)
    others = await store.people.note("mend", 8, "somebody else's")
    ids = [await store.people.note("mend", 7, str(number)) for number in range(5)]
    kept = [await store.people.read_note(note_id) for note_id in ids]
    assert [note is not None and note.payload for note in kept] == [False, False, "2", "3", "4"]
    assert await store.people.read_note(others) is not None


@pytest.mark.parametrize(
    ("kind", "user_id", "payload", "complaint"),
    [
        ("", 7, "x", "kind has 0 characters"),
        ("k" * 65, 7, "x", "kind has 65 characters"),
        ("k", -1, "x", "user_id is -1"),
        ("k", 2**63, "x", "user_id is"),
        ("k", 7, "x" * (LONGEST_NOTE + 1), "payload has 20001 characters; it must have 0 to 20000"),
        ("k", 7, "half \ud800", "payload holds half a character at position 5"),
    ],
)
async def test_a_note_that_cannot_be_kept_says_why(
    store: Store, tmp_path: Path, kind: str, user_id: int, payload: str, complaint: str
) -> None:
    with pytest.raises(InvalidEntry, match=complaint):
        await store.people.note(kind, user_id, payload)
    assert sql(tmp_path, "SELECT count(*) FROM note") == [(0,)]


async def test_preferences_belong_to_their_place(store: Store) -> None:
    await store.people.set_preference(Scope.USER, 7, "model", "emoji")
    await store.people.set_preference(Scope.USER, 7, "raw", False)
    await store.people.set_preference(
        Scope.USER, 7, "model", {"name": "sdxl", "size": [1024, 768.5]}
    )
    await store.people.set_preference(Scope.CHANNEL, 7, "model", "of the channel")
    await store.people.set_preference(Scope.GUILD, 7, "blocked", ["a", "b"])
    assert await store.people.preferences(Scope.USER, 7) == {
        "model": {"name": "sdxl", "size": [1024, 768.5]},
        "raw": False,
    }
    assert await store.people.preferences(Scope.CHANNEL, 7) == {"model": "of the channel"}
    assert await store.people.preferences(Scope.GUILD, 7) == {"blocked": ["a", "b"]}
    assert await store.people.preferences(Scope.USER, 8) == {}
    await store.people.set_preference(Scope.USER, 7, "model", None)
    await store.people.set_preference(Scope.USER, 7, "never set", None)
    assert await store.people.preferences(Scope.USER, 7) == {"raw": False}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=PLAIN.filter(lambda value: value is not None))
async def test_any_plain_value_comes_back(store: Store, value: object) -> None:
    await store.people.set_preference(Scope.USER, 1, "any", value)
    found = (await store.people.preferences(Scope.USER, 1))["any"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("", 1, "key has 0 characters"),
        ("k" * 65, 1, "key has 65 characters"),
        ("k", {1, 2}, "the value of 'k' is not plain JSON"),
        ("k", float("nan"), "the value of 'k' is not plain JSON"),
        ("k", "x" * 20_000, "the value of 'k' has 20002 characters"),
    ],
)
async def test_a_preference_that_cannot_be_kept_says_why(
    store: Store, key: str, value: object, complaint: str
) -> None:
    with pytest.raises(InvalidEntry, match=complaint):
        await store.people.set_preference(Scope.USER, 7, key, value)
    with pytest.raises(InvalidEntry, match="the id of the guild is -1"):
        await store.people.set_preference(Scope.GUILD, -1, "k", 1)
    assert await store.people.preferences(Scope.USER, 7) == {}


async def test_no_place_fills_up_with_preferences(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people_module, "MOST_PREFERENCES", 2)
    for key in ("a", "b"):
        await store.people.set_preference(Scope.USER, 7, key, 1)
    with pytest.raises(InvalidEntry, match="user 7 has 2 preferences; drop one before 'c'"):
        await store.people.set_preference(Scope.USER, 7, "c", 1)
    await store.people.set_preference(Scope.USER, 7, "b", 2)
    await store.people.set_preference(Scope.USER, 8, "c", 3)
    assert await store.people.preferences(Scope.USER, 7) == {"a": 1, "b": 2}


async def test_a_preference_that_was_damaged_is_named(store: Store, tmp_path: Path) -> None:
    await store.people.set_preference(Scope.USER, 7, "model", "emoji")
    sql(tmp_path, "UPDATE preference SET value = '{half'")
    with pytest.raises(StoreDamaged, match="the preference 'model' of user 7"):
        await store.people.preferences(Scope.USER, 7)


async def test_macros_are_kept_changed_and_dropped(store: Store) -> None:
    await store.people.set_macro(7, "soft", "--stylize 50")
    await store.people.set_macro(7, "Soft", "--stylize 20")
    await store.people.set_macro(8, "soft", "another's")
    await store.people.set_macro(7, "soft", "--stylize 40 --raw")
    assert await store.people.macros(7) == {"Soft": "--stylize 20", "soft": "--stylize 40 --raw"}
    await store.people.set_macro(7, "soft", None)
    await store.people.set_macro(7, "unknown", None)
    assert await store.people.macros(7) == {"Soft": "--stylize 20"}
    assert await store.people.macros(8) == {"soft": "another's"}


async def test_twenty_macros_fit_however_many_come_at_once(store: Store) -> None:
    async def press(number: int) -> bool:
        try:
            await store.people.set_macro(7, f"macro{number}", "--raw")
        except TooManyMacros as error:
            assert error.limit == MOST_MACROS == 20
            assert f"'macro{number}'" in str(error)
            return False
        return True

    answers = await asyncio.gather(*(press(number) for number in range(21)))
    assert answers.count(False) == 1
    held = await store.people.macros(7)
    assert len(held) == 20
    await store.people.set_macro(7, next(iter(held)), "--changed")
    await store.people.set_macro(8, "another's", "--raw")
    refused = answers.index(False)
    assert not await press(refused)
    await store.people.set_macro(7, next(iter(held)), None)
    assert await press(refused)


@pytest.mark.parametrize(
    ("name", "text"), [("", "x"), ("n" * 65, "x"), ("n", "x" * (LONGEST_MACRO + 1)), ("\ud800", "")]
)
async def test_a_macro_that_cannot_be_kept_says_why(store: Store, name: str, text: str) -> None:
    with pytest.raises(InvalidEntry, match="macro"):
        await store.people.set_macro(7, name, text)
    assert await store.people.macros(7) == {}


async def test_favourites_are_marked_once_and_counted(store: Store) -> None:
    first, second = await make_posted(store, 1), await make_posted(store, 2)
    assert await store.people.favourite(7, first.id, 1, on=True)
    assert not await store.people.favourite(7, first.id, 1, on=True)
    assert await store.people.favourite(8, first.id, 1, on=True)
    assert await store.people.favourite(7, second.id, 0, on=True)
    assert await store.people.favourite_count(first.id, 1) == 2
    assert await store.people.favourite_count(first.id, 0) == 0
    assert await store.people.favourite(8, first.id, 1, on=False)
    assert not await store.people.favourite(8, first.id, 1, on=False)
    assert await store.people.favourite_count(first.id, 1) == 1
    found = await store.people.favourites(7)
    assert [(one.job_id, one.index) for one in found] == [(second.id, 0), (first.id, 1)]
    assert {one.created_at for one in found} == {Clock().now}
    assert await store.people.favourites(9) == []


async def test_favourites_turn_page_by_page(store: Store) -> None:
    jobs = [await make_posted(store, number) for number in range(3)]
    pressed = [(job.id, index) for job in jobs for index in (0, 1)]
    for job_id, index in pressed:
        await store.people.favourite(7, job_id, index, on=True)
    seen: list[tuple[str, int]] = []
    before = None
    while page := await store.people.favourites(7, limit=4, before=before):
        seen += [(one.job_id, one.index) for one in page]
        before = page[-1].key
    assert seen == pressed[::-1]
    for strange in ("", "x", f"{jobs[0].id}:", f"{jobs[0].id}:²", f"{jobs[0].id}:{'9' * 40}"):
        assert await store.people.favourites(7, before=strange) == []
    with pytest.raises(ValueError, match="limit is 0"):
        await store.people.favourites(7, limit=0)


async def test_what_is_not_there_cannot_be_a_favourite(store: Store) -> None:
    job = await make_posted(store, 1)
    with pytest.raises(UnknownJob, match="is not in the store"):
        await store.people.favourite(7, new_job_id(), 1, on=True)
    for wrong in (("no id", 1), (job.id, -1), (job.id, 37)):
        with pytest.raises(InvalidEntry, match=r"(job_id|index) is"):
            await store.people.favourite(7, *wrong, on=True)
    await store.people.favourite(7, job.id, 1, on=True)
    await store.delete_pictures(job.id)
    assert await store.people.favourites(7) == []
    assert await store.people.favourite_count(job.id, 1) == 0
    with pytest.raises(UnknownJob, match="was deleted"):
        await store.people.favourite(7, job.id, 1, on=True)
    assert not await store.people.favourite(7, job.id, 1, on=False)


async def test_presses_at_once_leave_one_mark(store: Store) -> None:
    job = await make_posted(store, 1)
    answers: list[Any] = await asyncio.gather(
        *(store.people.favourite(7, job.id, 1, on=True) for _ in range(20))
    )
    assert answers.count(True) == 1
    assert await store.people.favourite_count(job.id, 1) == 1
