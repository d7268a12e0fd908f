"""Places and people: two guilds, channels that differ, roles, who left, who is where."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import discord
import pytest
from discord import app_commands

from bot.playground import (
    InteractionState,
    MessageRecord,
    Permission,
    PlayError,
    Playground,
    RateLimits,
)
from tests.test_bot_playground_support import Rest, aimed, judged, png, rest_of


class Press(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]], template=r"v1:(?P<job>\w+)"
):
    """A button that says who pressed it where."""

    def __init__(self, job: str) -> None:
        super().__init__(discord.ui.Button(label=job, custom_id=f"v1:{job}"))
        self.job = job

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction,
        item: discord.ui.Item[Any],
        match: re.Match[str],
    ) -> Press:
        return cls(match["job"])

    async def callback(self, interaction: discord.Interaction) -> None:
        user = interaction.user
        roles = [role.name for role in user.roles] if isinstance(user, discord.Member) else []
        rights = interaction.permissions
        place = (interaction.guild_id, rights.administrator, rights.manage_guild)
        locale = (str(interaction.locale), str(interaction.guild_locale))
        said = f"{user.name} {roles} {place} {locale} {interaction.filesize_limit}"
        await interaction.response.send_message(said, ephemeral=True)


class Keeper(discord.Client):
    """Posts a button wherever it is asked to."""

    def __init__(self) -> None:
        super().__init__(intents=discord.Intents(guilds=True), guild_ready_timeout=0.05)
        self.tree = app_commands.CommandTree(self)
        self.tree.add_command(post)

    async def setup_hook(self) -> None:
        self.add_dynamic_items(Press)
        await self.tree.sync()


@app_commands.command(description="Post a button")
@app_commands.guild_only()
async def post(interaction: discord.Interaction, nothing: str = "") -> None:
    view = discord.ui.View(timeout=None)
    view.add_item(Press("job7"))
    assert isinstance(interaction.channel, discord.TextChannel)
    adult = interaction.channel.is_nsfw()
    may = interaction.app_permissions.send_messages
    await interaction.response.send_message(f"adult {adult}, may post {may}", view=view)


@pytest.fixture
async def client() -> AsyncIterator[Keeper]:
    yield Keeper()


@pytest.fixture
async def pg(client: Keeper) -> AsyncIterator[Playground]:
    limits = RateLimits(enabled=False)
    async with (
        judged(Playground(rate_limits=limits, guilds=2)) as playground,
        aimed(playground, client),
    ):
        await playground.ready()
        yield playground


async def posted(pg: Playground, who: str, channel_id: int | None = None) -> MessageRecord:
    ix = await pg.slash(who, "post", channel_id=channel_id)
    assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
    return pg.ledger.messages[ix.message_id or 0]


async def pressed(pg: Playground, who: str, message: MessageRecord) -> str:
    ix = await pg.press(who, message.id, "v1:job7")
    assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
    return pg.ledger.messages[ix.message_id or 0].content


async def test_a_press_tells_member_roles_and_rights(pg: Playground) -> None:
    home, other = pg.guilds
    here = await posted(pg, "bob")
    limit = 10 * 1024 * 1024
    english = ("en-US", "en-US")
    patrons = ["@everyone", "Patrons"]
    place = (home.id, False, False)
    assert await pressed(pg, "bob", here) == f"bob {patrons} {place} {english} {limit}"
    owner = (home.id, True, True)
    moderators = ["@everyone", "Moderators"]
    assert await pressed(pg, "carol", here) == f"carol {moderators} {owner} {english} {limit}"
    there = await posted(pg, "alice", other.channels["lounge"])
    place = (other.id, False, False)
    assert await pressed(pg, "bob", there) == f"bob ['@everyone'] {place} {english} {limit}"
    with pytest.raises(PlayError, match="carol is not in #lounge"):
        await pg.press("carol", there.id, "v1:job7")


async def test_roles_come_and_go(pg: Playground) -> None:
    here = await posted(pg, "alice")
    pg.add_role("Artists", Permission.ADMINISTRATOR)
    pg.give_role("alice", "Artists")
    assert "'Artists'], " not in await pressed(pg, "bob", here)
    said = await pressed(pg, "alice", here)
    assert "['@everyone', 'Artists']" in said
    assert "True, True" in said
    pg.take_role("alice", "Artists")
    assert "['@everyone']" in await pressed(pg, "alice", here)


async def test_who_left_presses_nothing_but_in_direct_messages(
    pg: Playground, client: Keeper
) -> None:
    here = await posted(pg, "bob")
    user = await client.fetch_user(pg.people["bob"].id)
    view = discord.ui.View(timeout=None)
    view.add_item(Press("job7"))
    direct = await user.send("yours", view=view)
    pg.leave("bob")
    with pytest.raises(PlayError, match="bob is not in #easel"):
        await pg.press("bob", here.id, "v1:job7")
    with pytest.raises(PlayError, match="bob is not in #easel"):
        await pg.slash("bob", "post")
    with pytest.raises(PlayError, match="bob is not in #easel"):
        await pg.say("bob", "hello?")
    kept = pg.ledger.messages[direct.id]
    assert await pressed(pg, "bob", kept) == (
        f"bob [] {(None, False, False)} ('en-US', 'None') {10 * 1024 * 1024}"
    )
    home = await client.fetch_guild(pg.guild_id)
    with pytest.raises(discord.NotFound) as gone:
        await home.fetch_member(user.id)
    assert gone.value.code == 10007
    # They share the second guild still; when they share none, the bot may not write any more.
    await user.send("still")
    pg.leave("bob", guild_id=pg.guilds[1].id)
    with pytest.raises(discord.Forbidden) as refused:
        await user.send("no")
    assert refused.value.code == 50278
    pg.join("bob")
    assert "['@everyone']" in await pressed(pg, "bob", here)


async def test_channels_differ(pg: Playground, client: Keeper) -> None:
    adult = await posted(pg, "bob", pg.channels["after-dark"])
    assert adult.content == "adult True, may post True"
    notice = await posted(pg, "bob", pg.channels["notices"])
    assert notice.content == "adult False, may post False"
    channel = await client.fetch_channel(pg.channels["notices"])
    assert isinstance(channel, discord.TextChannel)
    assert [message.id async for message in channel.history()] == [notice.id]
    with pytest.raises(discord.Forbidden) as refused:
        await channel.send("no")
    assert refused.value.code == 50013


async def test_a_guild_command_stays_out_of_direct_messages(pg: Playground) -> None:
    with pytest.raises(PlayError, match="is offered no command 'post'"):
        await pg.slash("bob", "post", channel_id=pg.direct_messages("bob"))
    with pytest.raises(PlayError, match="alice is not in these direct messages"):
        await pg.say("alice", "x", channel_id=pg.direct_messages("bob"))


async def test_languages_reach_the_bot(pg: Playground, client: Keeper) -> None:
    here = await posted(pg, "alice")
    pg.set_locale("alice", "ja")
    assert "('ja', 'en-US')" in await pressed(pg, "alice", here)
    pg.set_guild_locale("fr")
    assert "('en-US', 'fr')" in await pressed(pg, "bob", here)
    guild = client.get_guild(pg.guild_id)
    assert guild is not None
    assert guild.preferred_locale is discord.Locale.french
    with pytest.raises(PlayError, match="no language 'xx'"):
        pg.set_locale("alice", "xx")


async def test_the_size_of_files_is_what_interactions_say(pg: Playground, client: Keeper) -> None:
    here = await posted(pg, "alice")
    pg.attachment_limit = 100
    assert (await pressed(pg, "alice", here)).endswith(" 100")
    channel = await client.fetch_channel(pg.channel_id)
    assert isinstance(channel, discord.TextChannel)
    picture = pg.ledger.messages[(await channel.send("small")).id]
    assert picture.attachments == []
    await channel.send(file=discord.File(io.BytesIO(png()[:100]), "a.png"))
    with pytest.raises(discord.HTTPException) as refused:
        await channel.send(file=discord.File(io.BytesIO(bytes(101)), "b.png"))
    assert (refused.value.status, refused.value.code) == (413, 40005)


async def test_a_guild_that_threw_the_bot_out_says_nothing_more(
    pg: Playground, client: Keeper
) -> None:
    other = pg.guilds[1]
    assert {guild.id for guild in client.guilds} == {pg.guild_id, other.id}
    gone = client.wait_for("guild_remove", timeout=5)
    waiting = asyncio.ensure_future(gone)
    await asyncio.sleep(0)
    pg.kick_bot(guild_id=other.id)
    assert (await waiting).id == other.id
    with pytest.raises(PlayError, match="is offered no command"):
        await pg.slash("alice", "post", channel_id=other.channels["lounge"])
    await posted(pg, "alice")


async def test_guild_routes_know_both(pg: Playground) -> None:
    async with aiohttp.ClientSession() as session:
        rest = Rest(pg, session)
        listed = await rest("GET", "/users/@me/guilds")
        assert [item["name"] for item in listed.body] == ["Easel playground", "Another studio"]
        other = pg.guilds[1]
        members = await rest("GET", f"/guilds/{other.id}/members?limit=10")
        assert {each["user"]["username"] for each in members.body} == {"alice", "bob", "Easel"}
        carol = pg.people["carol"].id
        assert (await rest("GET", f"/guilds/{other.id}/members/{carol}")).code == 10007
        roles = await rest("GET", f"/guilds/{other.id}/roles")
        assert pg.role("Patrons").id not in [int(role["id"]) for role in roles.body]


async def test_no_more_guilds_than_there_are_plans() -> None:
    with pytest.raises(ValueError, match="1 to 2 guilds, not 3"):
        Playground(guilds=3)


async def test_commands_of_one_guild_stay_there() -> None:
    async with rest_of(Playground(guilds=2)) as rest:
        pg = rest.pg
        path = f"/applications/{pg.application_id}/guilds/{pg.guilds[1].id}/commands"
        await rest("PUT", path, [{"name": "there", "description": "d", "type": 1}])
        with pytest.raises(PlayError, match="no command 'there'"):
            await pg.slash("alice", "there")
        ix = await pg.slash("alice", "there", channel_id=pg.guilds[1].channels["lounge"])
        assert ix.payload["guild_id"] == str(pg.guilds[1].id)


async def test_an_adult_command_is_offered_only_where_it_belongs() -> None:
    async with rest_of(Playground()) as rest:
        pg = rest.pg
        path = f"/applications/{pg.application_id}/commands"
        await rest("PUT", path, [{"name": "nude", "description": "d", "type": 1, "nsfw": True}])
        with pytest.raises(PlayError, match="no command 'nude'"):
            await pg.slash("alice", "nude")
        await pg.slash("alice", "nude", channel_id=pg.channels["after-dark"])
