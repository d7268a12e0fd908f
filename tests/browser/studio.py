"""A small real bot for the page's tests: every kind of thing a bot can put into a channel.

Promises to be plain discord.py, with nothing that knows the playground, and to wait for the
test's word before it finishes a picture.
"""

from __future__ import annotations

import asyncio
import io
from typing import Any

import discord
from discord import app_commands
from PIL import Image

from tests.browser.extras import InJapanese, extras

JOBS = ("red heart", "cat face", "pizza")
Press = discord.Interaction["Studio"]


def picture(colour: str, name: str, description: str) -> discord.File:
    """Draw a plain square as an attachment with alt text."""
    out = io.BytesIO()
    Image.new("RGB", (256, 256), colour).save(out, "PNG")
    out.seek(0)
    return discord.File(out, filename=name, description=description)


class Remix(discord.ui.Modal, title="Remix"):
    """A modal with an old-style input and a labelled menu."""

    prompt: discord.ui.TextInput[Remix] = discord.ui.TextInput(
        label="Prompt", custom_id="prompt", min_length=3, max_length=60
    )
    strength: discord.ui.Label[Remix] = discord.ui.Label(
        text="Strength",
        description="How far it may go",
        component=discord.ui.Select(
            custom_id="strength",
            options=[
                discord.SelectOption(label="Subtle", value="subtle", default=True),
                discord.SelectOption(label="Strong", value="strong"),
            ],
        ),
    )

    async def on_submit(self, interaction: discord.Interaction[Any]) -> None:
        """Say what was filled in."""
        menu = self.strength.component
        chosen = menu.values[0] if isinstance(menu, discord.ui.Select) else "?"
        await interaction.response.send_message(f"Remixed: {self.prompt.value}, {chosen}")


class Grid(discord.ui.View):
    """The buttons and the menu under a finished picture."""

    @discord.ui.button(label="U1", custom_id="u1")
    async def first(self, interaction: Press, _: discord.ui.Button[Grid]) -> None:
        """Post the tile as a reply of its own."""
        await interaction.response.send_message(
            "Image #1", file=picture("seagreen", "tile.png", "the first tile")
        )

    @discord.ui.button(label="Remix", custom_id="remix", style=discord.ButtonStyle.primary)
    async def remix(self, interaction: Press, _: discord.ui.Button[Grid]) -> None:
        """Open the modal."""
        await interaction.response.send_modal(Remix())

    @discord.ui.button(label="Info", custom_id="info")
    async def info(self, interaction: Press, _: discord.ui.Button[Grid]) -> None:
        """Answer the presser alone."""
        card = discord.Embed(title="Parameters", description="seed **7**", colour=0x3366CC)
        card.add_field(name="Sampler", value="`dpmpp_2m`")
        card.add_field(name="Command", value=f"```{'/imagine a red heart ' * 9}```", inline=False)
        await interaction.response.send_message(embed=card, ephemeral=True)

    @discord.ui.button(label="Silence", custom_id="silence", style=discord.ButtonStyle.danger)
    async def silence(self, interaction: Press, _: discord.ui.Button[Grid]) -> None:
        """Do not answer before the deadline is long over."""
        await interaction.client.over.wait()

    @discord.ui.button(label="Later", custom_id="later", disabled=True)
    async def later(self, interaction: Press, _: discord.ui.Button[Grid]) -> None:
        """Cannot be pressed."""

    @discord.ui.select(
        custom_id="model",
        placeholder="Model",
        options=[discord.SelectOption(label="Emoji"), discord.SelectOption(label="Large")],
    )
    async def model(self, interaction: Press, menu: discord.ui.Select[Grid]) -> None:
        """Say what was chosen."""
        await interaction.response.send_message(f"Model: {menu.values[0]}")


class Board(discord.ui.LayoutView):
    """The newer components: text, a section, a gallery, a row, in a container."""

    def __init__(self) -> None:
        super().__init__(timeout=None)
        box: discord.ui.Container[Board] = discord.ui.Container(accent_colour=0x3366CC)
        box.add_item(discord.ui.TextDisplay("## History\nthe **newest** first"))
        face: discord.ui.Thumbnail[Board] = discord.ui.Thumbnail("attachment://one.png")
        box.add_item(discord.ui.Section("a red heart", accessory=face))
        box.add_item(discord.ui.Separator())
        gallery: discord.ui.MediaGallery[Board] = discord.ui.MediaGallery()
        gallery.add_item(media="attachment://two.png", description="a blue fish")
        gallery.add_item(media="attachment://three.png", description="a surprise", spoiler=True)
        box.add_item(gallery)
        row: discord.ui.ActionRow[Board] = discord.ui.ActionRow()
        row.add_item(discord.ui.Button(label="Docs", url="https://example.org/docs"))
        self.add_item(box)
        self.add_item(row)


class Studio(discord.Client):
    """The bot; `finish` lets a picture that is being made go on to its end."""

    def __init__(self) -> None:
        super().__init__(
            intents=discord.Intents(guilds=True),
            allowed_mentions=discord.AllowedMentions.none(),
            activity=discord.Game("with paint"),
        )
        self.tree = app_commands.CommandTree(self)
        self.finish = asyncio.Event()
        self.over = asyncio.Event()
        self.calls: list[dict[str, object]] = []

    async def setup_hook(self) -> None:
        """Announce the commands."""
        for command in (self._imagine(), self._show(), self._board()):
            self.tree.add_command(command)
        extras(self.tree)
        await self.tree.set_translator(InJapanese())
        await self.tree.sync()

    def _imagine(self) -> app_commands.Command[discord.app_commands.Group, ..., None]:
        @app_commands.command(name="imagine", description="Paint what you describe")
        @app_commands.describe(
            prompt="What you want to see", seed="Where chance begins", sampler="Which sampler"
        )
        @app_commands.choices(
            sampler=[
                app_commands.Choice(name="DPM++ 2M", value="dpmpp_2m"),
                app_commands.Choice(name="Euler a", value="euler_a"),
            ]
        )
        async def imagine(
            interaction: Press,
            prompt: app_commands.Range[str, 2, 200],
            seed: app_commands.Range[int, 0, 100] = 0,
            sampler: str = "dpmpp_2m",
            tile: bool = False,
            image: discord.Attachment | None = None,
        ) -> None:
            size = None if image is None else (image.filename, image.width)
            self.calls.append(
                {"prompt": prompt, "seed": seed, "sampler": sampler, "tile": tile, "image": size}
            )
            await interaction.response.defer(thinking=True)
            preview = picture("dimgray", "preview.png", f"preview of {prompt}")
            await interaction.edit_original_response(
                content=f"**{prompt}** (50 %)", attachments=[preview]
            )
            await self.finish.wait()
            grid = picture("crimson", "grid.png", prompt)
            await interaction.edit_original_response(
                content=f"**{prompt}**", attachments=[grid], view=Grid(timeout=None)
            )

        return imagine

    def _board(self) -> app_commands.Command[discord.app_commands.Group, ..., None]:
        @app_commands.command(name="board", description="Show the newer components")
        async def board(interaction: Press, note: str = "") -> None:
            self.calls.append({"board": note})
            files = [
                picture("crimson", "one.png", "a red heart"),
                picture("royalblue", "two.png", "a blue fish"),
                picture("gold", "three.png", "a surprise"),
            ]
            await interaction.response.send_message(view=Board(), files=files)

        return board

    def _show(self) -> app_commands.Command[discord.app_commands.Group, ..., None]:
        @app_commands.command(name="show", description="Post a picture again")
        @app_commands.describe(job="Which job")
        async def show(interaction: Press, job: str) -> None:
            await interaction.response.send_message(f"Job: {job}")

        @show.autocomplete("job")
        async def jobs(_: Press, current: str) -> list[app_commands.Choice[str]]:
            found = [name for name in JOBS if current in name]
            return [app_commands.Choice(name=name, value=f"job-{name}") for name in found]

        return show
