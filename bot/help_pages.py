"""The pages of /help, made from the parser's own table, the buttons' own and the commands' own.

Promises that a flag, a button or a command is explained exactly if it exists: nothing is listed by
hand that is listed elsewhere (a test compares). The page that is shown stands in the menu, so it
turns after any restart. Each page fits a message.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from types import MappingProxyType
from typing import Any, Final

import discord
from discord import app_commands

from bot import texts_help, texts_pictures
from bot.answers import rewrite, say
from bot.cards import forgotten
from bot.escape import MESSAGE_LIMIT, code, utf16_length
from bot.language import mark, tr
from bot.permissions import Action
from bot.prompt.flags import LATER
from bot.reactions import CROSS, ENVELOPE, STAR
from bot.services import Interaction

ACTION: Final = "help"
FIRST: Final = "start"
_FLAGS: Final = "flags"
# What a page's title leaves of a message.
_ROOM: Final = MESSAGE_LIMIT - 100

_START: Final = (
    mark("`/imagine` paints what you describe: words first, then flags, each behind two dashes:"),
    mark("`/imagine prompt:a red fox in the snow --ar 3:2 --no text`"),
    mark(
        "Four pictures appear, in the order 1 2 above 3 4. **U1–U4** post one of them alone, "
        "**V1–V4** paint four more like it, **🔄** paints the same again with another seed."
    ),
    mark(
        "The same prompt with the same `--seed` gives the same pictures. **Info** under a picture "
        "shows every setting, and a line to copy."
    ),
    mark(
        "A flag in the prompt wins over a command's options, these over your `/settings`, these "
        "over the channel's, these over the server's."
    ),
    mark("Where a prompt cannot be read, the answer shows the place and offers a mended one."),
    mark("The menu below has more: flags, weights, buttons, commands, and what is kept of you."),
)

# What is typed, and what it does: the examples are parsed by a test.
WEIGHTS: Final = (
    ("a (red) fox", mark("the word counts 1.1 times; `((red))` 1.21 times, `[red]` less")),
    ("a (red:1.3) fox", mark("the word counts 1.3 times")),
    ("fire::2 ice::1", mark("two prompts, mixed by their weights")),
    ("a fox AND a hat", mark("two prompts, painted together")),
    ("a [fox:cat:0.5]", mark("a fox in the first half of the steps, a cat in the second")),
    ("a [fox|cat]", mark("a fox and a cat, by turns, step by step")),
    ("a red fox BREAK a blue hat", mark("what stands behind begins a new chunk of words")),
)
WILDCARDS: Final = (
    ("a {red|green} fox", mark("one of them, drawn by the seed")),
    ("a {2$$red|green|blue} fox", mark("two of them")),
    ("a {red, green} fox", mark("a job for each, after you say yes")),
    ("a __colour__ fox", mark("a line of the admin's file of that name")),
)

# Every button, those that do the same in several directions together.
BUTTONS: Final[Mapping[tuple[Action, ...], str]] = MappingProxyType(
    {
        (Action.UPSCALE,): mark("posts that picture alone: the same pixels, at once"),
        (Action.VARY,): mark("paints more near that picture, as far off as your settings say"),
        (Action.REROLL,): mark("paints the same again with another seed"),
        (Action.SUBTLE_2X, Action.UP_4X): mark("enlarges and changes nothing"),
        (Action.CREATIVE_2X,): mark("enlarges and adds detail"),
        (Action.VARY_SUBTLE, Action.VARY_STRONG): mark("paints more near it, or far from it"),
        (Action.REGION,): mark("paints a part anew: choose where, and what it should show"),
        (Action.ZOOM_15, Action.ZOOM_2, Action.ZOOM_CUSTOM): mark("paints what is around it"),
        (Action.LEFT, Action.RIGHT, Action.UP, Action.DOWN): mark("paints on to that side"),
        (Action.SQUARE,): mark("paints on until it is square"),
        (Action.REMIX,): mark("asks for another prompt first"),
        (Action.CONTINUE,): mark("does the steps that `--stop` left out"),
        (Action.FAVOURITE,): mark("marks it for `/history favourites:True`, or takes the mark off"),
        (Action.INFO,): mark("shows every setting, to you alone"),
        (Action.CANCEL,): mark("stops a job; its requester and moderators may"),
        (Action.KEEP,): mark("drops the other pictures while they are being painted"),
        (Action.DELETE,): mark("deletes message and pictures, after asking once"),
        (Action.REPORT,): mark("tells the moderators about a picture"),
    }
)
REACTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        ENVELOPE: mark("comes to you in a direct message, with seed and job"),
        CROSS: mark("is stopped or deleted, if it is your own"),
        STAR: mark("is marked for `/history favourites:True`"),
    }
)
# What no message shows as a button of its own: an answer to a question, and a command.
UNSEEN: Final = frozenset({Action.DELETE_SURE, Action.SHOW})

_PRIVACY: Final = (
    mark(
        "Kept are your jobs (prompt, settings, where they were asked for and sent to), their "
        "pictures, your settings, shortcuts, favourites and reports; nothing else about you."
    ),
    mark("`/my-data` gives you all of it as a file. `/forget-me` deletes all of it, at once."),
    mark(
        "Every picture says in its file that a machine made it and which job it comes from, never "
        "who asked for it. `/verify` finds out whether a picture was made here."
    ),
    mark("Jobs of one server are never shown in another; private jobs are shown to nobody else."),
)

TITLES: Final = MappingProxyType(
    {
        FIRST: mark("First steps"),
        _FLAGS: mark("Flags"),
        "weights": mark("Weights and wildcards"),
        "buttons": mark("Buttons"),
        "commands": mark("Commands"),
        "privacy": mark("Privacy"),
    }
)


async def show_help(interaction: Interaction) -> None:
    """Answer /help with its first page."""
    pages = all_pages(interaction)
    await say(interaction, pages[FIRST][1], view=_menu(pages, FIRST))


async def turn_help(interaction: Interaction, state: str) -> None:
    """Show the page that was chosen in the menu."""
    data: Any = interaction.data or {}
    pages = all_pages(interaction)
    wanted = (data.get("values") or [state])[0]
    key = wanted if wanted in pages else FIRST
    await rewrite(interaction, pages[key][1], _menu(pages, key))


def all_pages(interaction: Interaction) -> dict[str, tuple[str, str]]:
    """Return title and text of every page by its key."""
    tree: Any = interaction.client
    commands = tree.tree.get_commands(type=discord.AppCommandType.chat_input)
    lines: dict[str, list[str]] = {
        FIRST: [tr(line) for line in _START],
        _FLAGS: [*texts_help.flag_lines(), *later_lines()],
        "weights": weight_lines(),
        "buttons": button_lines(),
        "commands": command_lines(commands),
        "privacy": [tr(line) for line in _PRIVACY],
    }
    return {
        key: (title, text)
        for page, its_lines in lines.items()
        for key, title, text in _split(page, its_lines)
    }


def weight_lines() -> list[str]:
    """Explain what signs among the words mean."""
    return [f"{code(example, 120)} {tr(meaning)}" for example, meaning in (*WEIGHTS, *WILDCARDS)]


def button_lines() -> list[str]:
    """Explain every button and every reaction."""
    return [
        f"**{' · '.join(_label(action) for action in actions)}** {tr(meaning)}"
        for actions, meaning in BUTTONS.items()
    ] + [
        tr("React with {sign} and it {meaning}.", sign=sign, meaning=tr(meaning))
        for sign, meaning in REACTIONS.items()
    ]


def _label(action: Action) -> str:
    """Return what stands on a button; those with a picture's number have one for each."""
    text = texts_pictures.label(action, 1) or tr(texts_help.LABELS[action], index=1)
    return f"{text}–4" if text.endswith("1") else text


def command_lines(
    commands: Iterable["app_commands.Command[Any, ..., Any] | app_commands.Group"],
) -> list[str]:
    """List every command, a group by what is in it."""
    found: list[str] = []
    for one in sorted(commands, key=lambda each: each.name):
        if isinstance(one, app_commands.Group):
            found += command_lines(one.commands)
        else:
            about = one.description.replace("{", "{{").replace("}", "}}")
            found.append(f"`/{one.qualified_name}` {tr(about)}")
    return found


def later_lines() -> list[str]:
    """Name the flags that people know from elsewhere."""
    names = [f"--{name}" for one in LATER for name in one.names[:1]]
    return [tr("Known elsewhere, not here: {flags}", flags=" ".join(names))] if names else []


def _split(key: str, lines: Sequence[str]) -> list[tuple[str, str, str]]:
    """Cut a page that is too long for a message into several: key, title, text."""
    title, made, room = tr(TITLES[key]), [list[str]()], _ROOM
    for line in lines:
        room -= utf16_length(line) + 1
        if room < 0 and made[-1]:
            made.append([])
            room = _ROOM - utf16_length(line) - 1
        made[-1].append(line)
    several = len(made) > 1
    return [
        (
            key if number == 1 else f"{key}{number}",
            f"{title} {number}" if several else title,
            "\n".join([f"**{title}**", *part]),
        )
        for number, part in zip(count(1), made, strict=False)
    ]


def _menu(pages: dict[str, tuple[str, str]], shown: str) -> discord.ui.View:
    menu: discord.ui.Select[discord.ui.View] = discord.ui.Select(
        custom_id=f"v1:{ACTION}:", placeholder=tr("More help")
    )
    for key, (title, _) in pages.items():
        menu.add_option(label=title, value=key, default=key == shown)
    view = discord.ui.View(timeout=None)
    view.add_item(menu)
    return forgotten(view)
