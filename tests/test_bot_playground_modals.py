"""Modals with every part that discord.py 2.7 has, opened from buttons and menus, filled in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import discord
import pytest
from discord import app_commands

from bot.playground import (
    InteractionState,
    MessageRecord,
    PlayError,
    Playground,
    PlayInteraction,
    RateLimits,
)
from bot.playground.wire import Json
from tests.test_bot_playground_support import Rest, aimed, judged, png, rest_of


class Everything(discord.ui.Modal, title="Everything"):
    """Five parts are the most: what does not fit here is in `Rest`."""

    note = discord.ui.TextDisplay[Any]("What **may** change")
    prompt: discord.ui.Label[Any] = discord.ui.Label(
        text="Prompt", component=discord.ui.TextInput(custom_id="prompt", default="a fox")
    )
    strength: discord.ui.Label[Any] = discord.ui.Label(
        text="Strength",
        component=discord.ui.Select(
            custom_id="strength",
            options=[
                discord.SelectOption(label="Subtle", value="subtle", default=True),
                discord.SelectOption(label="Strong", value="strong"),
            ],
        ),
    )
    mask: discord.ui.Label[Any] = discord.ui.Label(
        text="Mask", component=discord.ui.FileUpload(custom_id="mask", max_values=2)
    )
    seed: discord.ui.Label[Any] = discord.ui.Label(
        text="Keep the seed", component=discord.ui.Checkbox(custom_id="seed", default=True)
    )

    async def on_submit(self, interaction: discord.Interaction) -> None:
        text, menu, files, tick = (
            label.component for label in (self.prompt, self.strength, self.mask, self.seed)
        )
        assert isinstance(text, discord.ui.TextInput)
        assert isinstance(menu, discord.ui.Select)
        assert isinstance(files, discord.ui.FileUpload)
        assert isinstance(tick, discord.ui.Checkbox)
        sizes = [(file.filename, len(await file.read())) for file in files.values]
        said = f"{text.value} {menu.values} {sizes} {tick.value}"
        await interaction.response.send_message(said, ephemeral=True)


class Choices(discord.ui.Modal, title="Choices"):
    who: discord.ui.Label[Any] = discord.ui.Label(
        text="Who", component=discord.ui.UserSelect(custom_id="who", max_values=2)
    )
    role: discord.ui.Label[Any] = discord.ui.Label(
        text="Role", component=discord.ui.RoleSelect(custom_id="role", required=False)
    )
    where: discord.ui.Label[Any] = discord.ui.Label(
        text="Where", component=discord.ui.ChannelSelect(custom_id="where")
    )
    how: discord.ui.Label[Any] = discord.ui.Label(
        text="How",
        component=discord.ui.RadioGroup(
            custom_id="how",
            options=[
                discord.RadioGroupOption(label="Slowly", value="slow", default=True),
                discord.RadioGroupOption(label="Quickly", value="fast"),
            ],
        ),
    )
    what: discord.ui.Label[Any] = discord.ui.Label(
        text="What",
        component=discord.ui.CheckboxGroup(
            custom_id="what",
            options=[
                discord.CheckboxGroupOption(label=name.capitalize(), value=name)
                for name in ("sky", "sea")
            ],
        ),
    )

    async def on_submit(self, interaction: discord.Interaction) -> None:
        fields: list[Any] = [self.who, self.role, self.where, self.how, self.what]
        people, roles, rooms, how, what = (label.component for label in fields)
        names = sorted(item.name for item in [*people.values, *roles.values, *rooms.values])
        await interaction.response.send_message(f"{names} {how.value} {sorted(what.values)}")


class Asker(discord.Client):
    """Opens the two modals: one from a command's buttons, one from a message's menu."""

    def __init__(self) -> None:
        super().__init__(intents=discord.Intents(guilds=True), guild_ready_timeout=0.05)
        self.tree = app_commands.CommandTree(self)
        self.tree.add_command(ask)
        self.tree.add_command(choose)
        self.tree.add_command(profile)

    async def setup_hook(self) -> None:
        await self.tree.sync()


class Opener(discord.ui.View):
    @discord.ui.button(label="Remix", custom_id="remix")
    async def remix(self, press: discord.Interaction, _: discord.ui.Button[Any]) -> None:
        await press.response.send_modal(Everything())


@app_commands.command(description="Ask")
async def ask(interaction: discord.Interaction) -> None:
    await interaction.response.send_message("here", view=Opener(timeout=None))


@app_commands.context_menu(name="Choose")
async def choose(interaction: discord.Interaction, message: discord.Message) -> None:
    await interaction.response.send_modal(Choices(title=message.content))


@app_commands.context_menu(name="Profile")
async def profile(interaction: discord.Interaction, member: discord.Member) -> None:
    roles = [role.name for role in member.roles]
    await interaction.response.send_message(f"{member.display_name} {roles}", ephemeral=True)


@pytest.fixture
async def pg() -> AsyncIterator[Playground]:
    limits = RateLimits(enabled=False)
    async with judged(Playground(rate_limits=limits)) as playground, aimed(playground, Asker()):
        await playground.ready()
        yield playground


async def opened(pg: Playground) -> PlayInteraction:
    ix = await pg.slash("alice", "ask")
    await ix.acknowledged
    press = await pg.press("alice", ix.message_id or 0, "remix")
    await press.acknowledged
    return press


async def answer(pg: Playground, ix: PlayInteraction) -> MessageRecord:
    assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
    return pg.ledger.messages[ix.message_id or 0]


async def test_a_modal_with_a_file_is_filled_in(pg: Playground) -> None:
    press = await opened(pg)
    files = {"mask": [("mask.png", png(5, 5)), ("more.png", png(6, 6))]}
    ix = await pg.submit("alice", press, {"prompt": "an owl", "seed": False}, files=files)
    card = await answer(pg, ix)
    sizes = [("mask.png", len(png(5, 5))), ("more.png", len(png(6, 6)))]
    assert card.content == f"an owl ['subtle'] {sizes} False"
    attachments = ix.payload["data"]["resolved"]["attachments"].values()
    assert [(item["filename"], item["width"]) for item in attachments] == [
        ("mask.png", 5),
        ("more.png", 6),
    ]
    origin = card.data["interaction_metadata"]["triggering_interaction_metadata"]
    assert (origin["type"], origin["interacted_message_id"]) == (3, str(press.source_message_id))


async def test_what_is_not_named_keeps_its_default(pg: Playground) -> None:
    press = await opened(pg)
    ix = await pg.submit("alice", press, files={"mask": ("m.png", png())})
    assert (await answer(pg, ix)).content == f"a fox ['subtle'] [('m.png', {len(png())})] True"


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({}, "'mask' takes 1 to 2 values, not 0"),
        ({"mask": ["1"]}, "no upload 1"),
        ({"mask": "1"}, "takes a list"),
        ({"strength": ["wild"], "mask": []}, r"does not offer \['wild'\]"),
        ({"strength": ["subtle", "strong"], "mask": []}, "1 to 1 values, not 2"),
        ({"prompt": ""}, "must be filled in"),
        ({"seed": "yes", "mask": []}, "'mask' takes 1 to 2"),
        ({"sky": "blue"}, r"no field \['sky'\]"),
    ],
)
async def test_the_client_sends_only_what_the_modal_permits(
    pg: Playground, values: dict[str, Any], why: str
) -> None:
    press = await opened(pg)
    with pytest.raises(PlayError, match=why):
        await pg.submit("alice", press, values)


async def test_a_menu_opens_a_modal_of_people_roles_and_channels(pg: Playground) -> None:
    said = await pg.say("bob", "Whom")
    ix = await pg.menu("alice", said.id, "Choose")
    assert ix.payload["data"]["resolved"]["messages"][str(said.id)]["content"] == "Whom"
    await ix.acknowledged
    assert ix.modal is not None
    assert ix.modal["title"] == "Whom"
    values = {
        "who": [str(pg.people[name].id) for name in ("bob", "carol")],
        "role": [str(pg.role("Patrons").id)],
        "where": [str(pg.channels["gallery"])],
        "what": ["sea"],
    }
    card = await answer(pg, await pg.submit("alice", ix, values))
    assert card.content == "['Patrons', 'bob', 'carol', 'gallery'] slow ['sea']"
    ix = await pg.menu("alice", said.id, "Choose")
    await ix.acknowledged
    changed = {"role": [], "how": "fast", "what": ["sky", "sea"]}
    again = await pg.submit("alice", ix, values | changed)
    assert (await answer(pg, again)).content == "['bob', 'carol', 'gallery'] fast ['sea', 'sky']"
    with pytest.raises(PlayError, match="no channel"):
        direct = str(pg.direct_messages("alice"))
        await pg.submit("alice", ix, values | {"where": [direct]})
    with pytest.raises(PlayError, match="no role"):
        await pg.submit("alice", ix, values | {"role": ["1"]})


async def test_a_persons_menu_resolves_the_member(pg: Playground) -> None:
    card = await answer(pg, await pg.menu("alice", "bob", "Profile"))
    assert card.content == "Bob ['@everyone', 'Patrons']"
    assert card.data["type"] == 23
    assert card.data["interaction_metadata"]["target_user"]["username"] == "bob"
    with pytest.raises(PlayError, match="no command 'Info'; there are: Profile"):
        await pg.menu("alice", "bob", "Info")


@pytest.fixture
async def rest() -> AsyncIterator[Rest]:
    async with rest_of(Playground(rate_limits=RateLimits(enabled=False))) as client:
        command = {"name": "paint", "description": "d", "type": 1}
        path = f"/applications/{client.pg.application_id}/commands"
        assert (await client("PUT", path, [command])).status == 200
        yield client


def label(component: Json) -> Json:
    return {"type": 18, "label": "x", "component": component}


ONE = [{"label": "a", "value": "a"}]


@pytest.mark.parametrize(
    ("parts", "path", "code"),
    [
        ([{"type": 10, "content": "t"}] * 6, "components", "BASE_TYPE_BAD_LENGTH"),
        ([{"type": 2, "custom_id": "b"}], "components.0.type", "UNION_TYPE_CHOICES"),
        ([{"type": 4, "custom_id": "t"}], "components.0.type", "UNION_TYPE_CHOICES"),
        (
            [label({"type": 21, "custom_id": "r", "options": ONE})],
            "components.0.component.options",
            "BASE_TYPE_BAD_LENGTH",
        ),
        (
            [label({"type": 3, "custom_id": "s", "options": ONE * 2})],
            "components.0.component.options.1.value",
            "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED",
        ),
        (
            [label({"type": 3, "custom_id": "s", "options": ONE, "max_values": 2})],
            "components.0.component.max_values",
            "SELECT_COMPONENT_MAX_VALUES_TOO_LARGE",
        ),
        (
            [label({"type": 19, "custom_id": "f"}), label({"type": 19, "custom_id": "f"})],
            "components.1.component.custom_id",
            "COMPONENT_CUSTOM_ID_DUPLICATED",
        ),
        (
            [label({"type": 4, "custom_id": "t", "value": "v" * 4001})],
            "components.0.component.value",
            "BASE_TYPE_MAX_LENGTH",
        ),
    ],
)
async def test_a_modal_that_is_wrong_says_where(
    rest: Rest, parts: list[Json], path: str, code: str
) -> None:
    ix = await rest.pg.slash("alice", "paint")
    data = {"title": "t", "custom_id": "m", "components": parts}
    callback = f"/interactions/{ix.id}/{ix.token}/callback"
    reply = await rest("POST", callback, {"type": 9, "data": data}, token="none")  # noqa: S106
    assert reply.code == 50035
    node = reply.body["errors"]["data"]
    for part in path.split("."):
        node = node[part]
    assert code in [error["code"] for error in node["_errors"]]
    assert ix.modal is None
