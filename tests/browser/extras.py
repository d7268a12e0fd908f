"""More that a bot can put into a channel: menus on messages, every field of a modal, 5 × 5 buttons.

Promises plain discord.py again; `extras` adds it all to a bot's tree.
"""

from __future__ import annotations

import io
from typing import Any

import discord
from discord import app_commands
from PIL import Image

EMOJI = [
    *("1️⃣", "2️⃣", "3️⃣", "4️⃣", "🔄"),
    *("⬅️", "➡️", "⬆️", "⬇️", "🎲"),
    *("❤️", "⭐", "✉️", "❌", "👍"),
    *("◀", "▶", "➕", "🔍", "🗑️"),
    *("🟩", "⬛", "🖌️", "ℹ️", "🚩"),
]
JAPANESE = {
    "imagine": "想像",
    "Paint what you describe": "説明した絵を描きます",
    "prompt": "プロンプト",
    "What you want to see": "見たいもの",
    "Card": "詳細",
}
Press = discord.Interaction[Any]


class InJapanese(app_commands.Translator):
    """Translates a few words."""

    async def translate(
        self,
        string: app_commands.locale_str,
        locale: discord.Locale,
        context: app_commands.TranslationContextTypes,
    ) -> str | None:
        """Look the words up."""
        return JAPANESE.get(string.message) if locale is discord.Locale.japanese else None


class Region(discord.ui.Modal, title="Vary region"):
    """A modal with words, a file, radios, ticks, a person."""

    words = discord.ui.TextDisplay[Any]("Paint **white** where it may change ⭐")
    mask: discord.ui.Label[Any] = discord.ui.Label(
        text="Mask", component=discord.ui.FileUpload(custom_id="mask")
    )
    how: discord.ui.Label[Any] = discord.ui.Label(
        text="How",
        component=discord.ui.RadioGroup(
            custom_id="how",
            options=[
                discord.RadioGroupOption(label="Subtle", value="subtle", description="A little"),
                discord.RadioGroupOption(label="Strong", value="strong"),
            ],
        ),
    )
    what: discord.ui.Label[Any] = discord.ui.Label(
        text="Keep",
        component=discord.ui.CheckboxGroup(
            custom_id="keep",
            required=False,
            options=[
                discord.CheckboxGroupOption(label="Seed", value="seed", default=True),
                discord.CheckboxGroupOption(label="Model", value="model"),
            ],
        ),
    )
    who: discord.ui.Label[Any] = discord.ui.Label(
        text="For", component=discord.ui.UserSelect(custom_id="who", required=False)
    )

    async def on_submit(self, interaction: Press) -> None:
        """Say what came."""
        fields: list[Any] = [self.mask, self.how, self.what, self.who]
        mask, how, keep, who = (label.component for label in fields)
        names = [person.name for person in who.values]
        said = f"{mask.values[0].filename} {how.value} {sorted(keep.values)} {names}"
        await interaction.response.send_message(said)


class Board25(discord.ui.View):
    """Five rows of five buttons."""

    def __init__(self) -> None:
        super().__init__(timeout=None)
        for index, emoji in enumerate(EMOJI):
            button: discord.ui.Button[Any] = discord.ui.Button(
                emoji=emoji, custom_id=f"b{index}", disabled=index == 7, row=index // 5
            )
            self.add_item(button)


def film() -> discord.File:
    """Draw a short animation."""
    out = io.BytesIO()
    frames = [Image.new("RGB", (96, 96), colour) for colour in ("crimson", "gold", "seagreen")]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:], duration=80, loop=0)
    out.seek(0)
    return discord.File(out, "film.webp", description="three colours in turn")


@app_commands.context_menu(name=app_commands.locale_str("Card"))
async def card(interaction: Press, message: discord.Message) -> None:
    """Answer with what the menu was used on."""
    await interaction.response.send_message(f"card of {message.content!r}", ephemeral=True)


@app_commands.context_menu(name="Region")
async def region(interaction: Press, message: discord.Message) -> None:
    """Open the modal from a message's menu."""
    await interaction.response.send_modal(Region())


@app_commands.context_menu(name="Profile")
async def profile(interaction: Press, member: discord.Member) -> None:
    """Tell about a person."""
    await interaction.response.send_message(f"profile of {member.name}", ephemeral=True)


@app_commands.command(name="buttons", description="Every button there is")
async def buttons(interaction: Press) -> None:
    """Show the five rows."""
    await interaction.response.send_message("Twenty-five ⭐", view=Board25(), silent=True)


@app_commands.command(name="film", description="Several pictures, one a spoiler")
@app_commands.describe(model="Which model", image="To begin with")
async def show_film(
    interaction: Press, prompt: str, model: str = "none", image: discord.Attachment | None = None
) -> None:
    """Post several attachments."""
    hidden = Image.new("RGB", (96, 96), "navy")
    out = io.BytesIO()
    hidden.save(out, "PNG")
    out.seek(0)
    files = [film(), discord.File(out, "secret.png", spoiler=True, description="a secret")]
    name = "none" if image is None else image.filename
    said = f"{prompt} / {model} / {name} for {interaction.locale}"
    await interaction.response.send_message(said, files=files)


@show_film.autocomplete("model")
async def models(_: Press, current: str) -> list[app_commands.Choice[str]]:
    """Complete the model."""
    names = [name for name in ("emoji", "large") if current in name]
    return [app_commands.Choice(name=name, value=name) for name in names]


def extras(tree: app_commands.CommandTree[Any]) -> None:
    """Add everything to a tree."""
    tree.add_command(card)
    tree.add_command(region)
    tree.add_command(profile)
    tree.add_command(buttons)
    tree.add_command(show_film)
