"""Finding jobs again: by words, people, pages, messages and parents."""

from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import Job, JobState, Store, new_job_id
from tests.test_storage_support import child_of, make_posted, make_rendered, new_job

PROMPTS = ["100% cotton", "100 cotton", "under_score", "underXscore", r"back\slash", "a/slash"]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path) as found:
        yield found


async def fill(store: Store, prompts: list[str]) -> list[Job]:
    return [
        (await store.enqueue(new_job(number, prompt=prompt))).job
        for number, prompt in enumerate(prompts)
    ]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("100%", ["100% cotton"]),
        ("%", ["100% cotton"]),
        ("_", ["under_score"]),
        ("r_s", ["under_score"]),
        ("\\", [r"back\slash"]),
        ("/", ["a/slash"]),
        ("COTTON", ["100 cotton", "100% cotton"]),
        ("%cotton%", []),
        ("' OR '1'='1", []),
        ("half \ud800", []),
        ("x" * 60_000, []),
    ],
)
async def test_searches_mean_what_they_say(store: Store, search: str, found: list[str]) -> None:
    await fill(store, PROMPTS)
    assert [job.prompt for job in await store.history(search=search)] == found


async def test_case_does_not_matter_in_any_script(store: Store) -> None:
    await fill(store, ["КРАСНЫЙ Лис", "Straße", "ＦＯＸ"])
    for search, prompt in (("красный", "КРАСНЫЙ Лис"), ("STRASSE", "Straße"), ("fox", "ＦＯＸ")):
        assert [job.prompt for job in await store.history(search=search)] == [prompt]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
async def test_every_prompt_is_found_by_itself(store: Store, text: str) -> None:
    interaction_id = int.from_bytes(sha256(text.encode()).digest()[:7])
    job = (await store.enqueue(new_job(interaction_id, prompt=text))).job
    assert job in await store.history(search=text, limit=1000)


async def test_pages_join_without_gap_or_overlap(store: Store) -> None:
    jobs = await fill(store, [f"number {number}" for number in range(23)])
    seen: list[Job] = []
    before = None
    while page := await store.history(limit=5, before=before):
        seen += page
        before = page[-1].id
    assert seen == jobs[::-1]
    assert await store.history(before=new_job_id()) == []
    assert await store.history(before="../..") == []


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_senseless_limits_are_refused(store: Store, limit: int) -> None:
    with pytest.raises(ValueError, match="limit is"):
        await store.history(limit=limit)


async def test_the_history_is_of_one_person_place_or_state(store: Store) -> None:
    mine = (await store.enqueue(new_job(1, requester_id=1))).job
    theirs = (await store.enqueue(replace(new_job(2, requester_id=2), guild_id=99))).job
    private = (await store.enqueue(replace(new_job(3, requester_id=1), guild_id=None))).job
    posted = await make_posted(store, 4)
    assert await store.history(requester_id=1) == [private, mine]
    assert await store.history(guild_id=99) == [theirs]
    assert await store.history(requester_id=2, guild_id=11) == []
    assert await store.history(states=[JobState.POSTED]) == [posted]
    assert await store.history(states=[]) == []


async def test_a_message_leads_to_its_job(store: Store) -> None:
    posted = await make_posted(store, 1)
    waiting = (await store.enqueue(new_job(2))).job
    noted = await store.note_progress_message(waiting.id, channel_id=5, message_id=55)
    assert posted.post_message_id is not None
    assert await store.job_by_message(posted.post_message_id) == posted
    assert await store.job_by_message(55) == noted
    for number in (56, -1, 2**64):
        assert await store.job_by_message(number) is None


async def test_children_come_in_order(store: Store) -> None:
    parent = await make_rendered(store, 1)
    children = [
        (await store.enqueue(child_of(parent, number, index=number))).job for number in (2, 3)
    ]
    assert await store.children(parent.id) == children
    assert await store.children(children[0].id) == []
    assert await store.children("x") == []
