"""A real discord.py bot on the playground, over real sockets, judged by Discord's own document."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator
from typing import Any, Self

import discord
import pytest
from discord import app_commands

from bot.playground import InteractionState, MessageRecord, Permission, PlayError, Playground
from tests.test_bot_playground_support import aimed, judged, png

WORDS = ["a red heart", "a red apple", "a blue fish"]
CALLBACK = "/interactions/{interaction_id}/{interaction_token}/callback"


class Rename(discord.ui.Modal, title="Remix"):
    prompt: discord.ui.TextInput[Self] = discord.ui.TextInput(label="Prompt", max_length=50)
    note: discord.ui.TextInput[Self] = discord.ui.TextInput(
        label="Note", default="none", required=False
    )

    async def on_submit(self, interaction: discord.Interaction) -> None:
        text = f"remixed {self.prompt.value} / {self.note.value}"
        await interaction.response.send_message(text, ephemeral=True)


class Press(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"v1:(?P<action>\w+):(?P<index>\d)",
):
    def __init__(self, action: str, index: int) -> None:
        button: discord.ui.Button[discord.ui.View] = discord.ui.Button(
            label=f"{action}{index}", custom_id=f"v1:{action}:{index}"
        )
        super().__init__(button)
        self.action = action
        self.index = index

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction,
        item: discord.ui.Item[Any],
        match: re.Match[str],
    ) -> Self:
        return cls(match["action"], int(match["index"]))

    async def callback(self, interaction: discord.Interaction) -> None:
        response = interaction.response
        if self.action == "info":
            embed = discord.Embed(title="Info", description="seed 7")
            embed.set_image(url="attachment://small.png")
            file = discord.File(io.BytesIO(png(3, 5)), "small.png")
            await response.send_message(embed=embed, file=file, ephemeral=True)
        elif self.action == "modal":
            await response.send_modal(Rename())
        elif self.action == "update":
            await response.edit_message(content="updated", view=None)
        elif self.action == "think":
            await response.defer(ephemeral=True, thinking=True)
            await interaction.followup.send("first")
            second = await interaction.followup.send("second", wait=True, ephemeral=True)
            await second.edit(content="second, edited")
            await interaction.edit_original_response(content="first, edited")
        elif self.action == "gone":
            await response.defer()
            await interaction.delete_original_response()


class Painter(discord.Client):
    """A bot with one of everything that Easel uses."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        super().__init__(
            intents=discord.Intents(guilds=True, guild_messages=True, dm_messages=True),
            guild_ready_timeout=0.05,
            allowed_mentions=discord.AllowedMentions.none(),
            **options,
        )
        self.tree = app_commands.CommandTree(self)
        self.heard: asyncio.Queue[discord.Message] = asyncio.Queue()

    async def setup_hook(self) -> None:
        self.add_dynamic_items(Press)
        self.tree.add_command(imagine)
        self.tree.add_command(admin)
        self.tree.add_command(about)
        await self.tree.sync()

    async def on_message(self, message: discord.Message) -> None:
        self.heard.put_nowait(message)


def row(*actions: str) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for index, action in enumerate(actions):
        view.add_item(Press(action, index))
    return view


@app_commands.command(description="Paint")
@app_commands.describe(prompt="What", style="How")
@app_commands.choices(style=[app_commands.Choice(name="Ink", value="ink")])
async def imagine(
    interaction: discord.Interaction,
    prompt: app_commands.Range[str, 1, 100],
    style: str = "none",
    images: app_commands.Range[int, 1, 16] = 4,
    image: discord.Attachment | None = None,
) -> None:
    size = 0 if image is None else len(await image.read())
    await interaction.response.send_message(f"{prompt} {style} {images} {size} <@1> waiting")
    original = await interaction.original_response()
    assert isinstance(interaction.channel, discord.TextChannel | discord.DMChannel)
    progress = interaction.channel.get_partial_message(original.id)
    preview = discord.File(io.BytesIO(png(4, 4)), "preview.png")
    await progress.edit(content="50 %", attachments=[preview])
    await progress.edit(content="done", attachments=[])
    await interaction.channel.send(
        f"{prompt} <@{interaction.user.id}>",
        file=discord.File(io.BytesIO(png(16, 12)), "easel.png", description=prompt),
        view=row("info", "modal", "update", "think", "gone"),
        nonce="job-1",
        reference=progress,
        allowed_mentions=discord.AllowedMentions(users=[interaction.user]),
    )


@imagine.autocomplete("prompt")
async def complete(
    interaction: discord.Interaction, current: str
) -> list[app_commands.Choice[str]]:
    return [app_commands.Choice(name=word, value=word) for word in WORDS if current in word]


admin = app_commands.Group(
    name="admin",
    description="Moderate",
    default_permissions=discord.Permissions(manage_guild=True),
)


@admin.command(name="ban", description="Ban somebody")
async def ban(interaction: discord.Interaction, member: discord.Member) -> None:
    rights = interaction.permissions.manage_guild
    text = f"{member.display_name} {member.id} {rights}"
    await interaction.response.send_message(text, ephemeral=True)


@app_commands.context_menu(name="About")
async def about(interaction: discord.Interaction, message: discord.Message) -> None:
    await interaction.response.send_message(f"about {message.content}", ephemeral=True)


@pytest.fixture
async def pg() -> AsyncIterator[Playground]:
    async with judged(Playground()) as playground, aimed(playground, Painter()):
        await playground.ready()
        yield playground


async def painted(pg: Playground, prompt: str = "a red heart") -> MessageRecord:
    ix = await pg.slash("alice", "imagine", {"prompt": prompt})
    assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
    found: MessageRecord = await pg.wait(
        lambda ledger: next((item for item in ledger.messages.values() if item.custom_ids), None)
    )
    return found


async def answer(pg: Playground, message: MessageRecord, custom_id: str) -> MessageRecord:
    ix = await pg.press("bob", message.id, custom_id)
    assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
    assert ix.message_id is not None
    return pg.ledger.messages[ix.message_id]


async def test_a_command_acknowledges_shows_progress_and_posts(pg: Playground) -> None:
    post = await painted(pg)
    progress = next(item for item in pg.ledger.messages.values() if item.data["type"] == 20)
    contents = [version.data["content"] for version in progress.versions]
    assert contents == ["a red heart none 4 0 <@1> waiting", "50 %", "done"]
    preview = progress.versions[1].data["attachments"][0]
    assert (preview["width"], preview["height"], preview["content_type"]) == (4, 4, "image/png")
    assert progress.attachments == []
    assert progress.data["edited_timestamp"] is not None
    assert progress.data["interaction_metadata"]["user"]["username"] == "alice"
    picture = post.attachments[0]
    assert (picture["filename"], picture["width"], picture["height"]) == ("easel.png", 16, 12)
    assert picture["description"] == "a red heart"
    assert await pg.read_attachment(picture) == png(16, 12)
    assert post.nonce == "job-1"
    assert post.data["message_reference"]["message_id"] == str(progress.id)
    assert [user["username"] for user in post.data["mentions"]] == ["alice"]
    assert progress.data["mentions"] == []


async def test_options_arrive_typed_and_files_can_be_read(pg: Playground) -> None:
    upload = await pg.upload("alice", "my cat.png", png(9, 9))
    assert upload["filename"] == "my_cat.png"
    options = {"prompt": "x", "style": "ink", "images": 2, "image": upload["id"]}
    ix = await pg.slash("alice", "imagine", options)
    await ix.acknowledged
    assert ix.message_id is not None
    first = pg.ledger.messages[ix.message_id].versions[0].data["content"]
    assert first == f"x ink 2 {len(png(9, 9))} <@1> waiting"


async def test_autocomplete_answers_while_typing(pg: Playground) -> None:
    ix = await pg.autocomplete("bob", "imagine", {"prompt": "red"}, "prompt")
    await ix.acknowledged
    assert [choice["value"] for choice in ix.choices] == ["a red heart", "a red apple"]


async def test_an_ephemeral_answer_is_seen_by_one_and_uses_its_file(pg: Playground) -> None:
    post = await painted(pg)
    card = await answer(pg, post, "v1:info:0")
    assert card.ephemeral
    assert card.visible_to == pg.people["bob"].id
    assert not card.seen_by(pg.people["alice"].id)
    embed = card.data["embeds"][0]
    assert (embed["image"]["width"], embed["image"]["height"]) == (3, 5)
    assert card.attachments == []


async def test_a_modal_opens_and_is_submitted(pg: Playground) -> None:
    post = await painted(pg)
    opened = await pg.press("bob", post.id, "v1:modal:1")
    await opened.acknowledged
    assert opened.modal is not None
    field = opened.modal["components"][0]
    inner = field["components"][0] if field["type"] == 1 else field["component"]
    with pytest.raises(PlayError, match="must be filled in"):
        await pg.submit_modal("bob", opened, {})
    ix = await pg.submit_modal("bob", opened, {inner["custom_id"]: "a fish"})
    assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
    assert pg.ledger.messages[ix.message_id or 0].content == "remixed a fish / none"


async def test_an_update_changes_the_message_that_was_pressed(pg: Playground) -> None:
    post = await painted(pg)
    updated = await answer(pg, post, "v1:update:2")
    assert updated is post
    assert (post.content, post.custom_ids) == ("updated", [])
    assert len(post.attachments) == 1


async def test_thinking_then_followups_and_edits(pg: Playground) -> None:
    post = await painted(pg)
    first = await answer(pg, post, "v1:think:3")
    await pg.wait(lambda _: first.content == "first, edited")
    assert first.versions[0].data["flags"] == 64 | 128
    assert (first.ephemeral, first.loading) == (True, False)
    ix = pg.ledger.interactions[first.interaction_id or 0]
    second = pg.ledger.messages[ix.followups[0]]
    assert (second.content, second.ephemeral) == ("second, edited", True)


async def test_a_deferred_update_can_delete_its_message(pg: Playground) -> None:
    post = await painted(pg)
    await answer(pg, post, "v1:gone:4")
    await pg.wait(lambda _: post.deleted_at is not None)


async def test_buttons_work_with_a_new_client(pg: Playground) -> None:
    post = await painted(pg)
    async with aimed(pg, Painter()):
        await pg.wait(lambda ledger: len(ledger.happened("ready")) == 2)
        ix = await pg.press("bob", post.id, "v1:info:0")
        assert await ix.acknowledged is InteractionState.ACKNOWLEDGED


async def test_subcommands_resolve_members_and_ask_for_rights(pg: Playground) -> None:
    with pytest.raises(PlayError, match="is offered no command 'admin'"):
        await pg.slash("alice", "admin ban", {"member": str(pg.people["bob"].id)})
    ix = await pg.slash("carol", "admin ban", {"member": str(pg.people["bob"].id)})
    await ix.acknowledged
    expected = f"Bob {pg.people['bob'].id} True"
    assert pg.ledger.messages[ix.message_id or 0].content == expected


async def test_a_message_menu_knows_its_message(pg: Playground) -> None:
    said = await pg.say("alice", "something")
    ix = await pg.menu("bob", said.id, "About")
    await ix.acknowledged
    assert pg.ledger.messages[ix.message_id or 0].content == "about something"


async def test_commands_work_in_direct_messages(pg: Playground) -> None:
    channel_id = pg.direct_messages("bob")
    ix = await pg.slash("bob", "imagine", {"prompt": "secret"}, channel_id=channel_id)
    assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
    post = await pg.wait(
        lambda ledger: next((i for i in ledger.in_channel(channel_id) if i.custom_ids), None)
    )
    assert post.data["author"]["id"] == str(pg.application_id)
    assert "guild_id" not in ix.payload


async def test_content_is_hidden_without_the_intent() -> None:
    client = Painter()
    async with judged(Playground()) as pg, aimed(pg, client):
        await pg.ready()
        await pg.say("alice", "nothing for the bot")
        hidden = await asyncio.wait_for(client.heard.get(), 5)
        await pg.say("alice", f"for you <@{pg.application_id}>")
        shown = await asyncio.wait_for(client.heard.get(), 5)
    assert hidden.content == ""
    assert shown.content.startswith("for you")


async def test_messages_can_be_fetched_searched_reacted_to_and_deleted() -> None:
    client = Painter()
    async with judged(Playground()) as pg, aimed(pg, client):
        await pg.ready()
        said = [await pg.say("alice", f"number {number}") for number in range(5)]
        channel = await client.fetch_channel(pg.channel_id)
        assert isinstance(channel, discord.TextChannel)
        listed = [message.content async for message in channel.history(limit=3)]
        assert listed == ["number 4", "number 3", "number 2"]
        after = [m.id async for m in channel.history(after=discord.Object(said[2].id))]
        assert after == [said[3].id, said[4].id]
        own = await channel.send("mine", nonce="same")
        assert (await channel.send("again", nonce="same")).id == own.id
        await own.add_reaction("⭐")
        await pg.react("alice", own.id, "⭐")
        fetched = await channel.fetch_message(own.id)
        assert [(str(item.emoji), item.count, item.me) for item in fetched.reactions] == [
            ("⭐", 2, True)
        ]
        assert {user.name async for user in fetched.reactions[0].users()} == {"Easel", "alice"}
        async with channel.typing():
            await own.delete()
        with pytest.raises(discord.NotFound) as gone:
            await channel.fetch_message(own.id)
        assert gone.value.code == 10008
        guild = await client.fetch_guild(pg.guild_id)
        assert guild.approximate_member_count == 4
        member = await guild.fetch_member(pg.people["carol"].id)
        assert member.guild_permissions.manage_guild
        assert {role.name for role in await guild.fetch_roles()} >= {"Easel", "Moderators"}
        user = await client.fetch_user(pg.people["bob"].id)
        assert (await user.display_avatar.read())[:4] == b"\x89PNG"
        assert (await user.send("hello")).channel.id == pg.direct_messages("bob")
        assert (await client.application_info()).owner.name == "carol"
        assert len(await client.tree.fetch_commands()) == 3


async def test_a_forbidden_post_says_so() -> None:
    client = Painter()
    async with judged(Playground()) as pg, aimed(pg, client):
        await pg.ready()
        channel = await client.fetch_channel(pg.channel_id)
        assert isinstance(channel, discord.TextChannel)
        pg.deny(Permission.SEND_MESSAGES)
        with pytest.raises(discord.Forbidden) as refused:
            await channel.send("no")
        assert refused.value.code == 50013
        pg.deny(Permission.VIEW_CHANNEL)
        with pytest.raises(discord.Forbidden) as unseen:
            await channel.send("no")
        assert unseen.value.code == 50001


async def test_the_presence_reaches_the_world(pg: Playground) -> None:
    assert pg.world.presence["status"] == "online"


async def test_nothing_unknown_was_asked(pg: Playground) -> None:
    await painted(pg)
    assert pg.ledger.unknown == []
    assert len(pg.ledger.asked("POST", CALLBACK)) == 1
