"""Order in a community, through real sockets: classes, quotas, bans, pauses, reports, words."""

import io
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import discord
import pytest
from PIL import Image

from bot.app import App
from bot.judged import SPOILER
from bot.playground import InteractionState, MessageRecord, PlayInteraction
from storage import JobState, Scope
from tests.bot_desk import met
from tests.bot_room import QUICK, Room, job_id, job_of, open_room

ONE_AT_A_TIME = QUICK + "[queue]\nmax_running = 1\n"


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


def moderation(text: str, more: str = "") -> str:
    return f"{QUICK}{more}[moderation]\n{text}\n"


async def use(room: Room, who: str, command: str, **options: object) -> str:
    """Use a command in #easel and return what its user reads."""
    return (await used(room, who, command, options)).content


async def used(
    room: Room,
    who: str,
    command: str,
    options: Mapping[str, object] | None = None,
    *,
    channel_id: int | None = None,
) -> MessageRecord:
    ix = await room.pg.slash(who, command, options or {}, channel_id=channel_id)
    assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
    return await room.shown(ix, lambda found: not found.loading)


async def told(room: Room, ix: PlayInteraction) -> str:
    """Return the sentence that only the presser sees."""

    def found(_: object) -> MessageRecord | None:
        ids = [*ix.followups, ix.message_id]
        shown = [room.pg.ledger.messages.get(each or 0) for each in ids]
        mine = [each for each in shown if each is not None and each.visible_to == ix.user_id]
        return next((each for each in mine if not each.loading), None)

    return (await room.find(found)).content


def person(room: Room, who: str) -> int:
    return room.pg.people[who].id


async def spent(app: App, room: Room, who: str) -> float:
    since = datetime.now(UTC) - timedelta(days=1)
    return await app.services.store.community.device_seconds(
        person(room, who), since=since, guild_id=room.pg.guild_id
    )


# Classes and caps.


async def test_the_class_of_a_job_reaches_the_engine_and_the_queue(room: Room) -> None:
    async with room.bot(ONE_AT_A_TIME) as app:
        gate = room.engine.hold(1)
        first = await room.imagine("alice", "a heart")
        await gate.reached.wait()
        await app.services.store.people.set_preference(
            Scope.USER, person(room, "bob"), "speed", "relax"
        )
        relaxed = await room.imagine("bob", "a fish")
        fast = await room.imagine("alice", "a fox")
        assert "position 1" in room.answer(relaxed).versions[0].data["content"]
        assert "position 1" in room.answer(fast).versions[0].data["content"]
        gate.open.set()
        for ix in (first, relaxed, fast):
            await room.result_of(ix)
        assert [each.prompt for each in room.engine.submitted] == ["a heart", "a fox", "a fish"]
        assert room.engine.shares == ["fast", "fast", "relax"]


async def test_who_asks_while_another_is_answered_is_told_of_them(room: Room) -> None:
    async with room.bot(ONE_AT_A_TIME):
        await room.grid("carol", "so that paces are known")
        slow = room.pg.faults.hang("POST", "/interactions/*/*/callback", seconds=30)
        first = await room.pg.slash("alice", "imagine", {"prompt": "a heart"})
        await met(slow)
        gate = room.engine.hold(1)
        second = await room.imagine("bob", "a fish")
        assert "position 2" in room.answer(second).versions[0].data["content"]
        # Nothing waits for the answer to somebody else.
        await gate.reached.wait()
        assert [each.prompt for each in room.engine.submitted[1:]] == ["a fish"]
        gate.open.set()
        await room.result_of(second)
        slow.released.set()
        await room.result_of(first)


async def test_over_the_running_cap_jobs_wait_and_those_of_others_pass(room: Room) -> None:
    async with room.bot(QUICK + "[queue]\nmax_running = 3\nmax_running_user = 1\n"):
        gate = room.engine.hold(1)
        asked = [await room.imagine("alice", f"a heart {number}") for number in range(3)]
        await gate.reached.wait()
        other = await room.imagine("bob", "a fish")
        await room.pg.wait(lambda _: room.engine.running == 2)
        assert {each.prompt for each in room.engine.submitted} == {"a heart 0", "a fish"}
        gate.open.set()
        for ix in (*asked, other):
            await room.result_of(ix)
        assert room.engine.most_running == 2


async def test_a_role_has_limits_of_its_own(room: Room) -> None:
    patrons = room.pg.role("Patrons").id
    toml = (
        QUICK
        + "[queue]\nmax_running = 1\nmax_waiting_user = 1\n"
        + "[limits]\nmax_steps = 10\n"
        + f"[limits.roles.{patrons}]\nmax_steps = 60\nmax_waiting_user = 3\n"
    )
    async with room.bot(toml):
        gate = room.engine.hold(1)
        assert "at most 10 steps" in await use(room, "alice", "imagine", prompt="a fox --steps 20")
        asked = [await room.imagine("bob", "a fox --steps 20")]
        await gate.reached.wait()
        asked += [await room.imagine("bob", f"a fish {number}") for number in range(3)]
        refused = await use(room, "bob", "imagine", prompt="one too many")
        assert "3 jobs waiting" in refused
        gate.open.set()
        for ix in asked:
            await room.result_of(ix)


async def test_a_role_may_use_some_models_alone(room: Room) -> None:
    patrons = room.pg.role("Patrons").id
    async with room.bot(QUICK + f'[limits.roles.{patrons}]\nmodels = ["other"]\n'):
        refused = await use(room, "bob", "imagine", prompt="a fox")
        assert "may not use the model `emoji`" in refused
        assert "`other`" in refused
        await room.grid("alice")


# Seconds a day.


async def test_a_day_ends_with_a_sentence_that_says_when_there_is_more(room: Room) -> None:
    async with room.bot() as app:
        await room.grid("alice")
        await room.settled(app)
        assert await spent(app, room, "alice") > 0
        store = app.services.store
        await store.community.set_quota(room.pg.guild_id, person(room, "alice"), 0.0)
        refused = await use(room, "alice", "imagine", prompt="a fox")
        assert "seconds of the device for today" in refused
        assert "<t:" in refused
        await room.grid("bob")
        await store.community.set_quota(room.pg.guild_id, person(room, "alice"), 3600.0)
        await room.grid("alice")


async def test_what_waits_counts_towards_the_day(room: Room) -> None:
    # The engine says 0.1 s a step: ten steps are a second.
    async with room.bot(QUICK + "[queue]\nmax_running = 1\n[limits]\nseconds_per_day = 1.5\n"):
        gate = room.engine.hold(1)
        asked = [await room.imagine("alice", "a fox --steps 10")]
        await gate.reached.wait()
        asked.append(await room.imagine("alice", "a fox --steps 10"))
        refused = await use(room, "alice", "imagine", prompt="a fox --steps 10")
        assert "for today" in refused
        gate.open.set()
        for ix in asked:
            await room.result_of(ix)


async def test_posting_a_tile_alone_costs_nothing_and_is_not_refused(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid("alice")
        await room.settled(app)
        await app.services.store.community.set_quota(room.pg.guild_id, person(room, "alice"), 0.0)
        await room.result_of(await room.press("alice", grid, "upscale", 1))


async def test_info_tells_what_is_used_and_what_is_left(room: Room) -> None:
    async with room.bot(QUICK + "[limits]\nseconds_per_day = 600\n") as app:
        await room.grid("alice")
        await room.settled(app)
        gate = room.engine.hold(1)
        asked = await room.imagine("alice", "a slow fox")
        await gate.reached.wait()
        message = await used(room, "alice", "info")
        assert "of your 600 s" in message.content
        assert "a slow fox" in message.content
        assert [each.split(":")[1] for each in message.custom_ids] == ["cancel"]
        gate.open.set()
        await room.result_of(asked)


# Words.


async def test_words_and_patterns_hold_where_they_are_set(room: Room) -> None:
    channels = room.pg.channels
    toml = moderation(
        'blocked_patterns = ["w[a4]r\\\\s+crime"]\n'
        f'[moderation.guilds.{room.pg.guild_id}]\nblocked_words = ["zebra"]\n'
        f'[moderation.channels.{channels["gallery"]}]\nblocked_words = ["fox"]'
    )
    async with room.bot(toml):
        refused = await use(room, "bob", "imagine", prompt="a W4R   crime in oil")
        assert "`w[a4]r\\s+crime`" in refused
        assert "`zebra`" in await use(room, "bob", "imagine", prompt="a zebra")
        gallery = channels["gallery"]
        answer = await used(room, "bob", "imagine", {"prompt": "a fox"}, channel_id=gallery)
        assert answer.ephemeral
        assert "`fox`" in answer.content
        await room.grid("bob", "a fox")
        direct = room.pg.direct_messages("bob")
        ix = await room.pg.slash("bob", "imagine", {"prompt": "a zebra"}, channel_id=direct)
        await room.result_of(ix)


# Pictures that a checkpoint objects to.


async def first_tile(room: Room, message: MessageRecord) -> Image.Image:
    data = await room.pg.read_attachment(message.attachments[0])
    with Image.open(io.BytesIO(data)) as picture:
        return picture.convert("RGB").crop((0, 0, 256, 256))


def hidden(room: Room) -> list[MessageRecord]:
    return [
        each
        for each in room.pg.ledger.messages.values()
        if each.attachments and str(each.attachments[0]["filename"]).startswith(SPOILER)
    ]


async def test_objectionable_pictures_can_be_hidden_behind_a_spoiler(room: Room) -> None:
    room.engine.flagged = (True, False, False, False)
    async with room.bot(moderation('unsafe = "spoiler"')) as app:
        ix = await room.imagine("alice")
        await room.pg.wait(lambda _: hidden(room), timeout=8)
        grid = room.answer(ix)
        assert grid.attachments[0]["filename"] == f"{SPOILER}easel-{job_id(grid)}.png"
        assert any((await first_tile(room, grid)).tobytes())
        await room.settled(app)
        assert (await job_of(app, grid)).state is JobState.POSTED
        # What is made of the flagged one alone is hidden too, the others are not.
        flagged = await room.press("alice", grid, "upscale", 1)
        await room.pg.wait(lambda _: len(hidden(room)) == 2, timeout=8)
        assert room.answer(flagged) in hidden(room)
        plain = await room.result_of(await room.press("alice", grid, "upscale", 2))
        assert str(plain.attachments[0]["filename"]).startswith("easel-")


async def last_word(room: Room, answer: MessageRecord) -> str:
    """Return what an answer says at last, itself or what follows it."""

    def found(_: object) -> MessageRecord | None:
        ix = room.pg.ledger.interactions[answer.interaction_id or 0]
        messages = [room.pg.ledger.messages[each] for each in (answer.id, *ix.followups)]
        return next((each for each in messages if each.content), None)

    return (await room.find(found)).content


@pytest.mark.parametrize(("channel", "shown"), [("after-dark", True), ("easel", False)])
async def test_restricted_pictures_are_shown_in_age_restricted_channels_alone(
    room: Room, channel: str, shown: bool
) -> None:
    room.engine.flagged = (True, False, False, False)
    async with room.bot(moderation('unsafe = "restricted"')) as app:
        place = room.pg.channels[channel]
        ix = await room.pg.slash("alice", "imagine", {"prompt": "a fox"}, channel_id=place)
        grid = await room.result_of(ix)
        assert any((await first_tile(room, grid)).tobytes()) is shown
        if not shown:
            return
        await room.settled(app)
        # It leaves its channel for no other, neither by /show nor by a button that came along.
        answer = await used(room, "alice", "show", {"job": job_id(grid)})
        assert "age-restricted channels alone" in await last_word(room, answer)
        view = discord.ui.View(timeout=None)
        for tile in (1, 2):
            state = f"v1:upscale:{job_id(grid)}:{tile}"
            view.add_item(discord.ui.Button(label="x", custom_id=state))
        view.stop()
        sent = await room.app.client.get_partial_messageable(room.pg.channel_id).send(
            "x", view=view
        )
        along = room.pg.ledger.messages[sent.id]
        refused = await told(room, await room.press("alice", along, "upscale", 1))
        assert "age-restricted channels alone" in refused
        await room.result_of(await room.press("alice", along, "upscale", 2))
        await room.result_of(await room.press("alice", grid, "upscale", 1))


# The size ladder.


async def test_files_are_as_large_as_the_interaction_says(room: Room) -> None:
    async with room.bot() as app:
        room.pg.attachment_limit = 2500
        grid = await room.grid("alice", "a heart")
        assert grid.attachments[0]["size"] <= 2500
        assert str(grid.attachments[0]["filename"]).endswith(".jpg")
        kept = await app.services.store.pictures(job_id(grid))
        assert kept[0].size > 2500
        assert kept[0].media_type == "image/png"


# Bans.


async def test_a_ban_tells_why_and_until_when_and_ends(room: Room) -> None:
    async with room.bot(ONE_AT_A_TIME) as app:
        gate = room.engine.hold(1)
        first = await room.imagine("alice")
        await gate.reached.wait()
        waiting = await room.imagine("bob", "a fish")
        bob = str(person(room, "bob"))
        done = await use(
            room, "carol", "admin ban", user=bob, time="7 days", reason="be *kind* <@1>"
        )
        assert "until <t:" in done
        await room.pg.wait(lambda _: "a fish" not in app.services.queue.order())
        refused = await use(room, "bob", "imagine", prompt="a fish")
        assert "do not let you" in refused
        assert "be \\*kind\\*" in refused
        assert job_id(room.answer(waiting)) not in app.services.queue
        lifted = await use(room, "carol", "admin ban", user=bob, time="lift")
        assert "may make pictures again" in lifted
        assert "was not banned" in await use(room, "carol", "admin ban", user=bob, time="lift")
        assert "no time" in await use(room, "carol", "admin ban", user=bob, time="soon")
        gate.open.set()
        await room.result_of(first)
        await room.grid("bob", "a fish")


async def test_times_and_seconds_are_offered_while_typing(room: Room) -> None:
    async with room.bot():
        bob = str(person(room, "bob"))
        ix = await room.pg.autocomplete("carol", "admin ban", {"user": bob, "time": "day"}, "time")
        await ix.acknowledged
        assert [each["value"] for each in ix.choices] == ["1 day", "7 days", "30 days"]
        ix = await room.pg.autocomplete(
            "carol", "admin quota", {"user": bob, "seconds": "6"}, "seconds"
        )
        await ix.acknowledged
        assert "600" in [each["value"] for each in ix.choices]


async def test_quotas_are_set_and_taken_back(room: Room) -> None:
    async with room.bot():
        bob = str(person(room, "bob"))
        assert "0 s a day" in await use(room, "carol", "admin quota", user=bob, seconds="0")
        assert "for today" in await use(room, "bob", "imagine", prompt="a fox")
        assert "no number" in await use(room, "carol", "admin quota", user=bob, seconds="lots")
        assert "roles have again" in await use(
            room, "carol", "admin quota", user=bob, seconds="none"
        )
        await room.grid("bob")


# Pause, drain, clear.


async def test_paused_nothing_starts_what_runs_goes_on_and_a_restart_changes_nothing(
    room: Room,
) -> None:
    async with room.bot():
        gate = room.engine.hold(2)
        running = await room.imagine("alice")
        await gate.reached.wait()
        assert "Paused" in await use(room, "carol", "admin pause")
        waiting = await room.imagine("bob", "a fish")
        assert "An admin has paused" in room.answer(waiting).content
        gate.open.set()
        await room.result_of(running)
        assert len(room.engine.submitted) == 1
    async with room.bot() as app:
        await room.pg.wait(lambda _: app.services.queue.paused)
        assert "paused" in await use(room, "bob", "info")
        assert len(room.engine.submitted) == 1
        assert "taken and painted again" in await use(room, "carol", "admin resume")
        await room.result_of(waiting)
    async with room.bot() as app:
        assert not app.services.queue.paused
        await room.grid("bob")


async def test_draining_takes_nothing_new_and_paints_what_waits(room: Room) -> None:
    async with room.bot(ONE_AT_A_TIME):
        gate = room.engine.hold(1)
        asked = [await room.imagine("alice"), await room.imagine("bob", "a fish")]
        assert "Draining" in await use(room, "carol", "admin drain")
        assert "closed the queue" in await use(room, "alice", "imagine", prompt="a fox")
        gate.open.set()
        for ix in asked:
            grid = await room.result_of(ix)
        # A tile alone needs no device and no place in the queue.
        await room.result_of(await room.press("bob", grid, "upscale", 1))
        await use(room, "carol", "admin resume")
        await room.grid("alice")


async def test_clear_cancels_what_waits_and_says_so(room: Room) -> None:
    async with room.bot(ONE_AT_A_TIME) as app:
        gate = room.engine.hold(1)
        running = await room.imagine("alice")
        await gate.reached.wait()
        mine = await room.imagine("alice", "a fox")
        other = await room.imagine("bob", "a fish")
        bob = str(person(room, "bob"))
        assert "1 waiting job cancelled" in await use(room, "carol", "admin clear", user=bob)
        await room.shown(other, lambda found: "cleared the queue" in found.content)
        assert "1 waiting job cancelled" in await use(room, "carol", "admin clear")
        await room.shown(mine, lambda found: "cleared the queue" in found.content)
        gate.open.set()
        await room.result_of(running)
        await room.settled(app)
        assert (await app.services.store.counts()).cancelled == 2


async def test_only_who_manages_the_server_is_heard(room: Room) -> None:
    async with room.bot() as app:
        room.pg.give_role("bob", "Moderators")
        await use(room, "bob", "admin pause")
        room.pg.take_role("bob", "Moderators")
        admin_ids = [each["id"] for each in room.pg.world.commands[None] if each["name"] == "admin"]
        assert admin_ids
        assert app.services.queue.paused == {room.pg.guild_id}
        # Discord offers it to nobody else; in direct messages it does, and nobody is heard.
        direct = room.pg.direct_messages("alice")
        answer = await used(room, "alice", "admin resume", channel_id=direct)
        assert "Only who may manage" in answer.content
        assert app.services.queue.paused == {room.pg.guild_id}


async def test_the_bots_admins_are_heard_in_direct_messages_and_everywhere(room: Room) -> None:
    async with room.bot(moderation(f"admins = [{person(room, 'alice')}]")) as app:
        direct = room.pg.direct_messages("alice")
        answer = await used(room, "alice", "admin pause", channel_id=direct)
        assert "everywhere" in answer.content
        waiting = await room.imagine("bob")
        assert "An admin has paused" in room.answer(waiting).content
        resumed = await use(room, "carol", "admin resume")
        assert "halted everything" in resumed
        assert app.services.queue.paused
        await used(room, "alice", "admin resume", channel_id=direct)
        await room.result_of(waiting)


async def test_reload_without_a_file_says_so(room: Room) -> None:
    async with room.bot():
        assert "without a config.toml" in await use(room, "carol", "admin reload")


async def test_the_presence_shows_model_and_queue(room: Room) -> None:
    def status() -> str:
        activities = room.pg.world.presence["activities"]
        return str(activities[0]["state"]) if activities else ""

    async with room.bot(ONE_AT_A_TIME) as app:
        assert status() == "emoji · 0 waiting"
        gate = room.engine.hold(1)
        asked = [await room.imagine("alice"), await room.imagine("bob")]
        await gate.reached.wait()
        await app._show_status()
        await room.pg.wait(lambda _: status() == "emoji · 1 waiting")
        gate.open.set()
        for ix in asked:
            await room.result_of(ix)


# Reports.


async def reported(room: Room, app: App) -> tuple[MessageRecord, MessageRecord]:
    """Report a picture of alice's; return it and the notice in the moderators' channel."""
    grid = await room.grid("alice", "a <@1> heart")
    single = await room.result_of(await room.press("alice", grid, "upscale", 1))
    await room.settled(app)
    ix = await room.press("bob", single, "report")
    assert "Thank you" in await told(room, ix)
    notice = await room.find(
        lambda ledger: next(
            (one for one in ledger.messages.values() if one.content.startswith("Report ")), None
        )
    )
    return single, notice


@pytest.mark.parametrize("verdict", ["rkeep", "rrm", "rban"])
async def test_a_report_is_settled_by_a_moderator_once(room: Room, verdict: str) -> None:
    gallery = room.pg.channels["gallery"]
    async with room.bot(moderation(f"report_channel = {gallery}")) as app:
        single, notice = await reported(room, app)
        assert notice.channel_id == gallery
        assert job_id(single) in notice.content
        assert not notice.data["mentions"]
        assert (
            "only who may manage"
            in (await told(room, await room.press("alice", notice, verdict))).casefold()
        )
        assert single.deleted_at is None
        again = await room.press("bob", single, "report")
        assert "Thank you" in await told(room, again)
        await room.press("carol", notice, verdict)
        await room.pg.wait(lambda _: not notice.custom_ids)
        assert f"<@{person(room, 'carol')}>" in notice.content
        kept = await app.services.store.pictures(job_id(single))
        assert bool(kept) is (verdict == "rkeep")
        assert (single.deleted_at is None) is (verdict == "rkeep")
        banned = await app.services.store.community.ban_of(room.pg.guild_id, person(room, "alice"))
        assert (banned is not None) is (verdict == "rban")
        reports = [each for each in room.pg.ledger.messages.values() if "Report " in each.content]
        assert len(reports) == 1


async def test_a_second_verdict_and_a_forgotten_report_get_a_sentence(room: Room) -> None:
    gallery = room.pg.channels["gallery"]
    async with room.bot(moderation(f"report_channel = {gallery}")) as app:
        _, notice = await reported(room, app)
        custom_id = notice.custom_ids[0]
        report_id = custom_id.split(":")[2]
        by = person(room, "carol")
        await app.services.store.community.settle_report(report_id, by=by, verdict="rkeep")
        ix = await room.pg.press("carol", notice.id, custom_id)
        assert "already settled" in await told(room, ix)


async def test_without_a_channel_reports_go_to_the_admins(room: Room) -> None:
    async with room.bot(moderation(f"admins = [{person(room, 'carol')}]")) as app:
        _, notice = await reported(room, app)
        assert notice.channel_id == room.pg.direct_messages("carol")


async def test_a_report_of_a_thing_elsewhere_reaches_nobody(room: Room) -> None:
    """A moderator of the report channel's server has no word on another server's pictures."""
    gallery = room.pg.channels["gallery"]
    async with room.bot(moderation(f"report_channel = {gallery}")) as app:
        store = app.services.store
        grid = await room.grid("alice")
        await room.settled(app)
        made = await store.community.add_report(
            job_id=job_id(grid), index=1, guild_id=4242, reporter_id=1, reason=""
        )
        channel = app.client.get_partial_messageable(room.pg.channel_id)
        view = discord.ui.View(timeout=None)
        view.add_item(discord.ui.Button(label="x", custom_id=f"v1:rrm:{made.id}:0"))
        view.stop()
        sent = await channel.send("forged", view=view)
        room.pg.take_role("carol", "Moderators")
        room.pg.give_role("bob", "Moderators")
        ix = await room.pg.press("bob", sent.id, f"v1:rrm:{made.id}:0")
        assert "Only who may manage" in await told(room, ix)
        assert len(await store.pictures(job_id(grid))) == 5


# Estimates.


async def test_waiting_and_running_texts_tell_a_time_and_it_is_checked(room: Room) -> None:
    async with room.bot(ONE_AT_A_TIME) as app:
        gate = room.engine.hold(1)
        first = await room.imagine("alice", "a fox --steps 10")
        await gate.reached.wait()
        second = await room.imagine("bob", "a fish --steps 10")
        assert "~2 s" in room.answer(second).versions[0].data["content"]
        gate.open.set()
        for ix in (first, second):
            await room.result_of(ix)
        await room.settled(app)
        assert app.services.worker.estimates.median_error is not None
        count = app.metrics.registry.get_sample_value("easel_eta_error_ratio_count")
        assert count == 2
