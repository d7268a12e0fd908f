"""Finding jobs again: by words, people, pages, messages and families; and pictures by looks."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import Job, JobState, Store, new_job_id
from tests.test_storage_support import (
    child_of,
    make_posted,
    make_rendered,
    make_running,
    new_job,
    new_picture,
)

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


async def make_family(store: Store) -> dict[str, Job]:
    """A has B and C, B has D, D has E; Z stands alone."""
    family: dict[str, Job] = {}
    pairs = [("a", ""), ("b", "a"), ("z", ""), ("c", "a"), ("d", "b"), ("e", "d")]
    for number, (name, parent) in enumerate(pairs):
        asked = new_job(number)
        if parent:
            asked = child_of(family[parent], number, index=1)
        family[name] = (await store.enqueue(asked)).job
    return family


async def test_a_family_is_found_upwards_and_downwards(store: Store) -> None:
    family = await make_family(store)

    def named(*names: str) -> list[Job]:
        return [family[name] for name in names]

    assert await store.ancestors(family["e"].id) == named("d", "b", "a")
    assert await store.ancestors(family["e"].id, limit=2) == named("d", "b")
    assert await store.ancestors(family["a"].id) == []
    assert await store.descendants(family["a"].id) == named("b", "c", "d", "e")
    assert await store.descendants(family["a"].id, limit=3) == named("b", "c", "d")
    assert await store.descendants(family["b"].id) == named("d", "e")
    for lonely in (family["z"].id, new_job_id(), "' OR 1=1 --"):
        assert await store.ancestors(lonely) == await store.descendants(lonely) == []


async def test_a_long_line_has_no_end_but_the_limit(store: Store) -> None:
    line = [(await store.enqueue(new_job(0))).job]
    for number in range(1, 120):
        line.append((await store.enqueue(child_of(line[-1], number, index=1))).job)
    assert await store.ancestors(line[-1].id) == line[-2:-52:-1]
    assert await store.ancestors(line[-1].id, limit=1000) == line[-2::-1]
    assert await store.descendants(line[0].id) == line[1:]


async def test_deleted_jobs_hold_the_family_together(store: Store) -> None:
    family = await make_family(store)
    await store.cancel(family["b"].id)
    deleted = await store.delete_pictures(family["b"].id)
    assert await store.ancestors(family["d"].id) == [deleted, family["a"]]
    assert len(await store.descendants(family["a"].id)) == 4


@pytest.mark.parametrize("limit", [0, 1001])
async def test_senseless_limits_of_families_are_refused(store: Store, limit: int) -> None:
    for asking in (store.ancestors("x", limit=limit), store.descendants("x", limit=limit)):
        with pytest.raises(ValueError, match="limit is"):
            await asking


async def make_alike(store: Store, interaction_id: int, *hashes: int | None) -> Job:
    job = await make_running(store, interaction_id)
    pictures = [replace(new_picture(place), phash=one) for place, one in enumerate(hashes)]
    return await store.rendered(job, pictures, device_seconds=1)


async def test_pictures_that_look_alike_are_found_the_nearest_first(store: Store) -> None:
    base = 0x8000_0000_0000_00FF
    first = await make_alike(store, 1, base, base ^ 0b111, None)
    second = await make_alike(store, 2, base ^ 1, base ^ 2**63, ~base & (2**64 - 1))
    found = await store.pictures_like(base, distance=3)
    assert [(one.job_id, one.index, apart) for one, apart in found] == [
        (first.id, 0, 0),
        (second.id, 0, 1),
        (second.id, 1, 1),
        (first.id, 1, 3),
    ]
    assert found[2][0] in await store.pictures(second.id)
    assert [one.phash for one, _ in found] == [base, base ^ 1, base ^ 2**63, base ^ 0b111]
    assert await store.pictures_like(base, distance=0, limit=1) == found[:1]
    assert len(await store.pictures_like(base, distance=64)) == 5
    assert len(await store.pictures_like(base, distance=64, limit=2)) == 2


async def test_distances_are_those_of_the_bits(store: Store) -> None:
    chance = random.Random(5)  # noqa: S311
    edges = [0, 1, 2**63 - 1, 2**63, 2**64 - 1]
    hashes = edges + [chance.getrandbits(64) for _ in range(25)]
    for number in range(0, 30, 10):
        await make_alike(store, number, *hashes[number : number + 10])
    for asked in (*edges, chance.getrandbits(64)):
        found = await store.pictures_like(asked, distance=32, limit=1000)
        apart = [((one.phash or 0) ^ asked).bit_count() for one, _ in found]
        assert [number for _, number in found] == apart == sorted(apart)
        assert len(found) == sum((one ^ asked).bit_count() <= 32 for one in hashes)


@pytest.mark.parametrize(("phash", "distance"), [(-1, 3), (2**64, 3), (0, -1), (0, 65)])
async def test_senseless_looks_are_refused(store: Store, phash: int, distance: int) -> None:
    with pytest.raises(ValueError, match=r"(phash|distance) is"):
        await store.pictures_like(phash, distance=distance)


async def test_a_file_leads_to_its_pictures(store: Store) -> None:
    first, second = await make_posted(store, 1, b"same"), await make_posted(store, 2, b"same")
    (grid, _), (again, _) = await store.pictures(first.id), await store.pictures(second.id)
    assert await store.picture_by_sha256(grid.sha256) == [grid, again]
    for unknown in ("f" * 64, "../../secret", grid.sha256.upper()):
        assert await store.picture_by_sha256(unknown) == []
