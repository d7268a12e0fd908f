"""The slash commands beside their main path: refusals, prompt errors, lists, reposts."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.playground import InteractionState, MessageRecord
from diffusion import describe_model
from storage import StoreFull
from tests.bot_room import QUICK, Room, finished, job_id, open_room, results


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


async def use(room: Room, who: str, command: str, **options: object) -> MessageRecord:
    """Use a command and return what it says to its user."""
    ix = await room.pg.slash(who, command, options)
    assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
    return await room.shown(ix, lambda found: not found.loading)


async def test_a_prompt_error_shows_the_place_and_can_be_run_mended(room: Room) -> None:
    async with room.bot():
        error = await use(room, "alice", "imagine", prompt="a red heart --sede 7")
        assert error.ephemeral
        assert "^^" in error.content
        assert "`a red heart --seed 7`" in error.content
        assert room.engine.submitted == []
        ix = await room.press("alice", error, "fix")
        await room.result_of(ix)
        assert [params.seed for params in room.engine.submitted] == [7]


async def test_fix_and_run_survives_a_restart(room: Room) -> None:
    async with room.bot():
        error = await use(room, "alice", "imagine", prompt="a red heart --sede 7")
    async with room.bot():
        await room.result_of(await room.press("alice", error, "fix"))


async def test_fix_and_run_keeps_the_model_option(room: Room) -> None:
    async with room.bot():
        error = await use(room, "alice", "imagine", prompt="a heart --sede 7", model="emoji")
        assert "--seed 7 --model emoji" in error.content


LONG = "a red heart " + "and a very blue fish " * 120 + "--sede 7"


async def test_a_long_mended_prompt_runs_whole(room: Room) -> None:
    async with room.bot():
        error = await use(room, "alice", "imagine", prompt=LONG)
        await room.result_of(await room.press("alice", error, "fix"))
        assert room.engine.submitted[0].prompt == LONG.removesuffix(" --sede 7")


async def test_a_long_mended_prompt_of_an_earlier_run_runs_whole(room: Room) -> None:
    async with room.bot():
        error = await use(room, "alice", "imagine", prompt=LONG)
    async with room.bot():
        await room.result_of(await room.press("alice", error, "fix"))
        assert room.engine.submitted[0].prompt == LONG.removesuffix(" --sede 7")


async def test_a_long_mended_prompt_that_was_forgotten_opens_a_form(room: Room) -> None:
    async with room.bot() as app:
        error = await use(room, "alice", "imagine", prompt=LONG)
        await app.services.store.forget(room.pg.people["alice"].id)
        ix = await room.press("alice", error, "fix")
        assert ix.modal is not None
        sent = await room.pg.submit_modal("alice", ix, {"prompt": "a fish --seed 9"})
        await sent.acknowledged
        await room.result_of(sent)
        assert room.engine.submitted[0].seed == 9


async def test_a_form_of_an_earlier_run_still_works(room: Room) -> None:
    async with room.bot() as app:
        error = await use(room, "alice", "imagine", prompt=LONG)
        await app.services.store.forget(room.pg.people["alice"].id)
        ix = await room.press("alice", error, "fix")
        assert ix.modal is not None
    async with room.bot():
        sent = await room.pg.submit_modal("alice", ix, {"prompt": "a fish --seed 9"})
        await sent.acknowledged
        await room.result_of(sent)


@pytest.mark.parametrize(
    "prompt",
    [
        "--ar 3:2",
        "https://example.org/a.png a heart",
        "x" * 5000,
        "a heart --model nosuch",
        "a heart --ar 100:1",
        "a heart --steps 100000",
    ],
)
async def test_bad_prompts_get_a_sentence(room: Room, prompt: str) -> None:
    async with room.bot() as app:
        message = await use(room, "bob", "imagine", prompt=prompt)
        assert message.ephemeral
        assert len(message.content) > 10
        assert (await app.services.store.counts()).waiting == 0
    assert room.engine.submitted == []


async def test_markdown_and_mentions_are_only_shown(room: Room) -> None:
    async with room.bot():
        nasty = "# @everyone <@1> **a** `b` [x](y) <#1> \u202ered"
        ix = await room.imagine("bob", nasty)
        grid = await room.result_of(ix)
        for version in grid.versions:
            assert not version.data["mentions"]
            assert not version.data["mention_everyone"]
            assert "\u202e" not in version.data["content"]


async def test_the_queue_is_full(room: Room) -> None:
    async with room.bot(QUICK + "[queue]\nmax_running = 1\nmax_waiting = 1\n") as app:
        gate = room.engine.hold(1)
        first = await room.imagine("alice")
        await gate.reached.wait()
        second = await room.imagine("bob")
        refused = await use(room, "carol", "imagine", prompt="a fish")
        assert refused.ephemeral
        assert "queue is full" in refused.content
        assert "number 2" in refused.content
        gate.open.set()
        await room.result_of(first)
        await room.result_of(second)
        await room.settled(app)


async def test_a_full_disk_refuses_new_jobs(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    async with room.bot() as app:

        async def full(*_: object, **__: object) -> None:
            raise StoreFull("no room")

        monkeypatch.setattr(app.services.store, "enqueue_all", full)
        refused = await use(room, "alice", "imagine", prompt="a fish")
        assert refused.ephemeral
        assert "disk" in refused.content


async def test_too_little_free_space_refuses_new_jobs(room: Room) -> None:
    async with room.bot("[storage]\nmin_free_gib = 100000\n"):
        refused = await use(room, "alice", "imagine", prompt="a fish")
        assert "nearly full" in refused.content


async def test_model_completes(room: Room) -> None:
    async with room.bot():
        ix = await room.pg.autocomplete("bob", "imagine", {"prompt": "x", "model": "emo"}, "model")
        await ix.acknowledged
        assert [choice["value"] for choice in ix.choices] == ["emoji"]


async def test_info_lists_my_jobs_and_cancels_them(room: Room) -> None:
    async with room.bot(QUICK + "[queue]\nmax_running = 1\n") as app:
        gate = room.engine.hold(2)
        first = await room.imagine("alice", "a red heart")
        await gate.reached.wait()
        second = await room.imagine("alice", "a blue fish")
        other = await room.imagine("bob", "a cat")
        listed = await use(room, "alice", "info")
        assert listed.ephemeral
        assert "1 running, 2 waiting" in listed.content
        assert "red heart" in listed.content
        assert "position 1" in listed.content
        assert "a cat" not in listed.content
        assert "emoji" in listed.content
        assert "Easel" in listed.content
        assert len(listed.custom_ids) == 2
        ix = await room.pg.press("alice", listed.id, listed.custom_ids[1])
        await ix.acknowledged
        await room.shown(second, lambda found: "ancelled" in found.content)
        gate.open.set()
        await room.result_of(first)
        await room.result_of(other)
        await room.settled(app)


async def test_info_without_jobs(room: Room) -> None:
    async with room.bot():
        listed = await use(room, "bob", "info")
        assert "nothing waiting" in listed.content
        assert not listed.custom_ids


async def test_show_posts_a_job_again_with_live_buttons(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid("alice", "a red heart")
        await room.settled(app)
        ix = await room.pg.autocomplete("alice", "show", {"job": "red"}, "job")
        await ix.acknowledged
        assert [choice["value"] for choice in ix.choices] == [job_id(grid)]
        shown = await use(room, "alice", "show", job=job_id(grid))
        assert not shown.ephemeral
        assert finished(room.pg.ledger, shown.id)
        assert shown.custom_ids == grid.custom_ids
        await room.result_of(await room.press("bob", shown, "upscale", 2))


async def test_show_takes_a_link(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid()
        await room.settled(app)
        link = f"https://discord.com/channels/{room.pg.guild_id}/{grid.channel_id}/{grid.id}"
        shown = await use(room, "bob", "show", job=link)
        assert finished(room.pg.ledger, shown.id)


@pytest.mark.parametrize("job", ["nothing", "aaaaaaaaaaaaa", "https://discord.com/channels/1/2/3"])
async def test_show_of_what_is_not_there(room: Room, job: str) -> None:
    async with room.bot():
        answer = await use(room, "bob", "show", job=job)
        assert answer.ephemeral
        assert "There is no job" in answer.content


async def test_history_pages(room: Room) -> None:
    async with room.bot() as app:
        for number in range(7):
            await room.grid("alice", f"heart number{number}")
        await room.settled(app)
        first = await use(room, "bob", "history", user=str(room.pg.people["alice"].id))
        assert "number6" in first.content
        assert "number1" not in first.content
        assert first.attachments[0]["filename"] == "easel-history.jpg"
        await turn(room, first, 1)
        await room.pg.wait(lambda ledger: "number0" in ledger.messages[first.id].content)
        assert "number6" not in first.content
        await turn(room, first, 0)
        await room.pg.wait(lambda ledger: "number6" in ledger.messages[first.id].content)


async def turn(room: Room, message: MessageRecord, which: int) -> None:
    pages = [each for each in message.components if each["type"] == 2]
    ix = await room.pg.press("bob", message.id, pages[which]["custom_id"])
    assert await ix.acknowledged is InteractionState.ACKNOWLEDGED


async def test_history_turns_after_a_restart_and_searches(room: Room) -> None:
    async with room.bot() as app:
        for number in range(6):
            await room.grid("alice", f"heart number{number}")
        await room.grid("alice", "a blue fish")
        await room.settled(app)
        first = await use(room, "alice", "history", search="heart")
        assert "fish" not in first.content
    async with room.bot():
        pages = [each for each in first.components if each["type"] == 2]
        ix = await room.pg.press("alice", first.id, pages[1]["custom_id"])
        await ix.acknowledged
        await room.pg.wait(lambda ledger: "number0" in ledger.messages[first.id].content)


async def test_history_of_nobody(room: Room) -> None:
    async with room.bot():
        empty = await use(room, "carol", "history")
        assert "No pictures" in empty.content
        assert not empty.attachments


async def test_help_fits(room: Room) -> None:
    async with room.bot():
        text = await use(room, "carol", "help")
        assert "--ar" in text.content
        assert text.ephemeral


async def test_about_names_authors_and_licences(room: Room) -> None:
    async with room.bot(models={"emoji": describe_model("emoji")}):
        text = await use(room, "carol", "about")
        assert text.ephemeral
        assert "MIT" in text.content
        assert "made by a machine" in text.content
        info = describe_model("emoji")
        assert len(info.describer_credits) == 8
        for credit in (*info.credits, *info.describer_credits):
            author, licence = credit.split(": ", 1)[1].split(", https")[0].rsplit(", ", 1)
            assert author in text.content.replace("\\", "")
            assert licence in text.content.replace("\\", "")


async def test_acknowledged_well_within_the_deadline(room: Room) -> None:
    async with room.bot(QUICK + "[queue]\nmax_waiting_user = 50\n") as app:
        taken = []
        for number in range(20):
            before = time.monotonic()
            await room.imagine("bob", f"heart {number}")
            taken.append(time.monotonic() - before)
        await room.pg.wait(lambda ledger: len(results(ledger)) == 20, timeout=9)
        await room.settled(app)
        # The goal is 0.5 s; a busy machine of two cores gets some mercy.
        assert sorted(taken)[-2] < 1.0


async def test_what_a_prompt_says_no_to_may_be_any_word(room: Room) -> None:
    async with room.bot(QUICK + '[moderation]\nblocked_words = ["blood"]\n'):
        refused = await use(room, "bob", "imagine", prompt="a fox with blood")
        assert "not allowed" in refused.content
        grid = await room.grid("bob", "a fox --no blood")
        await room.result_of(await room.press("bob", grid, "reroll"))
