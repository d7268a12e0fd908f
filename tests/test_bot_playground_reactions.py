"""Reactions: who hears of them, who may take whose away, and how many fit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import quote

import discord
import pytest

from bot.playground import Permission, PlayError, Playground, RateLimits
from bot.playground.errors import ApiError
from tests.test_bot_playground_support import Reply, Rest, aimed, judged, rest_of

Heard = tuple[str, str, int, bool]


class Listener(discord.Client):
    """Notes every reaction it hears of."""

    def __init__(self, intents: discord.Intents) -> None:
        super().__init__(intents=intents, guild_ready_timeout=0.05)
        self.heard: asyncio.Queue[Heard] = asyncio.Queue()

    async def on_raw_reaction_add(self, payload: discord.RawReactionActionEvent) -> None:
        self._note(payload)

    async def on_raw_reaction_remove(self, payload: discord.RawReactionActionEvent) -> None:
        self._note(payload)

    def _note(self, payload: discord.RawReactionActionEvent) -> None:
        guild = payload.guild_id is not None
        event = (payload.event_type, str(payload.emoji), payload.user_id, guild)
        self.heard.put_nowait(event)

    async def next(self) -> Heard:
        return await asyncio.wait_for(self.heard.get(), 5)


async def test_reactions_are_heard_in_guilds_and_direct_messages() -> None:
    client = Listener(discord.Intents(guilds=True, guild_reactions=True, dm_reactions=True))
    async with judged(Playground()) as pg, aimed(pg, client):
        alice = pg.people["alice"].id
        said = await pg.say("bob", "look")
        await pg.react("alice", said.id, "✉️")
        assert await client.next() == ("REACTION_ADD", "✉️", alice, True)
        await pg.react("alice", said.id, "✉️")
        await pg.react("alice", said.id, "✉️", added=False)
        assert await client.next() == ("REACTION_REMOVE", "✉️", alice, True)
        whisper = await pg.say("alice", "psst", channel_id=pg.direct_messages("alice"))
        await pg.react("alice", whisper.id, "⭐")
        assert await client.next() == ("REACTION_ADD", "⭐", alice, False)


@pytest.mark.parametrize(
    ("intents", "first"),
    [
        (discord.Intents(guilds=True, guild_reactions=True), "guild"),
        (discord.Intents(guilds=True, dm_reactions=True), "direct"),
    ],
)
async def test_each_intent_opens_its_own_half(intents: discord.Intents, first: str) -> None:
    client = Listener(intents)
    async with judged(Playground()) as pg, aimed(pg, client):
        direct = await pg.say("alice", "psst", channel_id=pg.direct_messages("alice"))
        said = await pg.say("bob", "look")
        order = [said, direct] if first == "direct" else [direct, said]
        for record in order:
            await pg.react("alice", record.id, "⭐")
        assert (await client.next())[3] is (first == "guild")
        assert client.heard.empty()


@pytest.fixture
async def rest() -> AsyncIterator[Rest]:
    async with rest_of(Playground(rate_limits=RateLimits(enabled=False))) as client:
        yield client


async def on(
    rest: Rest, message_id: int, method: str, more: str = "", *, dm: bool = False
) -> Reply:
    channel = rest.pg.direct_messages("alice") if dm else rest.pg.channel_id
    return await rest(method, f"/channels/{channel}/messages/{message_id}/reactions{more}")


STAR = f"/{quote('⭐')}"


async def test_the_bot_adds_joins_and_takes_back(rest: Rest) -> None:
    said = await rest.pg.say("bob", "look")
    assert (await on(rest, said.id, "PUT", f"{STAR}/@me")).status == 204
    await rest.pg.react("alice", said.id, "⭐")
    assert said.data["reactions"][0]["count"] == 2
    users = await on(rest, said.id, "GET", f"{STAR}?limit=1")
    assert [user["username"] for user in users.body] == ["Easel"]
    more = await on(rest, said.id, "GET", f"{STAR}?limit=5&after={rest.pg.application_id}")
    assert [user["username"] for user in more.body] == ["alice"]
    assert (await on(rest, said.id, "GET", f"{STAR}?type=1")).body == []
    assert (await on(rest, said.id, "GET", f"{STAR}?limit=101")).code == 50035
    assert (await on(rest, said.id, "DELETE", f"{STAR}/@me")).status == 204
    assert said.data["reactions"][0]["users"] == [str(rest.pg.people["alice"].id)]
    assert (await on(rest, said.id, "PUT", "/x/@me")).code == 10014
    assert (await on(rest, 1, "PUT", f"{STAR}/@me")).code == 10008


async def test_a_new_emoji_takes_a_permission_and_joining_does_not(rest: Rest) -> None:
    said = await rest.pg.say("bob", "look")
    rest.pg.deny(Permission.ADD_REACTIONS)
    assert (await on(rest, said.id, "PUT", f"{STAR}/@me")).code == 50013
    await rest.pg.react("alice", said.id, "⭐")
    assert (await on(rest, said.id, "PUT", f"{STAR}/@me")).status == 204


async def test_others_reactions_take_manage_messages(rest: Rest) -> None:
    said = await rest.pg.say("bob", "look")
    alice = rest.pg.people["alice"].id
    for emoji in ("⭐", "❌"):
        await rest.pg.react("alice", said.id, emoji)
    for more in (f"{STAR}/{alice}", STAR, ""):
        assert (await on(rest, said.id, "DELETE", more)).code == 50013
    rest.pg.add_role("Sweepers", Permission.MANAGE_MESSAGES)
    home = rest.pg.guilds[0]
    home.members[rest.pg.application_id].roles.append(rest.pg.role("Sweepers").id)
    assert (await on(rest, said.id, "DELETE", f"{STAR}/{alice}")).status == 204
    assert [item["emoji"]["name"] for item in said.data["reactions"]] == ["❌"]
    await rest.pg.react("alice", said.id, "⭐")
    assert (await on(rest, said.id, "DELETE", STAR)).status == 204
    assert (await on(rest, said.id, "DELETE")).status == 204
    assert said.data["reactions"] == []


async def test_nobody_takes_anothers_away_in_direct_messages(rest: Rest) -> None:
    direct = rest.pg.direct_messages("alice")
    said = await rest.pg.say("alice", "psst", channel_id=direct)
    await rest.pg.react("alice", said.id, "⭐")
    alice = rest.pg.people["alice"].id
    for more in (f"{STAR}/{alice}", STAR, ""):
        assert (await on(rest, said.id, "DELETE", more, dm=True)).code == 50003
    assert (await on(rest, said.id, "PUT", f"{STAR}/@me", dm=True)).status == 204


async def test_twenty_different_ones_fit(rest: Rest) -> None:
    said = await rest.pg.say("bob", "look")
    many = [chr(0x1F600 + number) for number in range(20)]
    for emoji in many:
        await rest.pg.react("alice", said.id, emoji)
    refused = await on(rest, said.id, "PUT", f"{STAR}/@me")
    assert (refused.status, refused.code) == (400, 30010)
    with pytest.raises(ApiError, match="30010"):
        await rest.pg.react("bob", said.id, "⭐")
    await rest.pg.react("bob", said.id, many[0])
    # Joining one that is there moves nothing.
    assert [item["emoji"]["name"] for item in said.data["reactions"]] == many


async def test_what_only_one_person_sees_takes_none(rest: Rest) -> None:
    command = {"name": "paint", "description": "d", "type": 1}
    await rest("PUT", f"/applications/{rest.pg.application_id}/commands", [command])
    ix = await rest.pg.slash("alice", "paint")
    body = {"type": 4, "data": {"content": "x", "flags": 64}}
    await rest("POST", f"/interactions/{ix.id}/{ix.token}/callback", body)
    with pytest.raises(PlayError, match="only they can see"):
        await rest.pg.react("alice", ix.message_id or 0, "⭐")
    with pytest.raises(PlayError, match="sees no message"):
        await rest.pg.react("bob", ix.message_id or 0, "⭐")
    assert (await on(rest, ix.message_id or 0, "PUT", f"{STAR}/@me")).code == 10008
