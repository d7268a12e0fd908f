"""What people read about what is theirs: settings, shortcuts, lists, their data.

Promises what `bot.texts` promises: each text fits a message, what people typed is escaped, and a
refusal says what to do next. Sends nothing and reads no database.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from bot.escape import MESSAGE_LIMIT, code, cut_utf16, escape, plain
from bot.language import mark, tr
from bot.preferences import Chosen, Name, Origin
from bot.texts_engine import retold
from bot.texts_jobs import HistoryLine, history_line

COMMANDS: Final = MappingProxyType(
    {
        "settings": mark("What you prefer; managers also set what holds for others here"),
        "prefer": mark("Shortcuts for your prompts, and switches"),
        "suffix": mark("Flags that are put behind every prompt of yours; without text: none"),
        "option": mark("Your shortcuts: words or flags under a name of their own"),
        "option set": mark("Keep a shortcut, to be typed as --name; without a value it goes"),
        "option list": mark("Your shortcuts and your suffix"),
        "prompt_in_files": mark("Write my prompts into the files of my pictures, or no longer"),
        "auto_dm": mark("Send me my results in direct messages too, or no longer"),
        "remix": mark("Ask for the prompt when I press V, Vary, Zoom, Pan or 🔄, or no longer"),
        "variability": mark("Let V1–V4 vary strongly or subtly"),
        "models": mark("The models of this server, and how to ask for one"),
        "presets": mark("The style templates of this server, and how to ask for one"),
        "loras": mark("The LoRAs and embeddings of this server, and how to ask for one"),
        "random": mark("Think of a prompt for me"),
        "lineage": mark("What a picture was made from, and what was made from it"),
        "verify": mark("Find out whether a picture was made here"),
        "forget-me": mark("Delete everything that is kept about you"),
        "my-data": mark("Everything that is kept about you, as a file"),
    }
)
OPTIONS: Final = MappingProxyType(
    {
        "suffix": mark("Flags such as --ar 3:2 --no text"),
        "name": mark("The shortcut's name: letters, digits and dashes"),
        "value": mark("What the shortcut stands for"),
        "seed": mark("The same number thinks of the same prompt"),
        "search": mark("Words to look for"),
        "image": mark("A picture, as the file that was downloaded"),
        "render": mark("Paint it again and compare every pixel"),
        "favourites": mark("Only the pictures with your ❤️"),
    }
)

_NAMES: Final = MappingProxyType(
    {
        Name.MODEL: mark("Model"),
        Name.QUALITY: mark("Quality"),
        Name.STYLIZE: mark("Stylize"),
        Name.VARIATION: mark("Variation"),
        Name.REMIX: mark("Remix"),
        Name.SPEED: mark("Speed"),
        Name.RAW: mark("Raw"),
        Name.PRIVATE: mark("Private"),
        Name.DM: mark("DM me"),
        Name.SUFFIX: mark("Suffix"),
        Name.WORDS: mark("Prompt in files"),
    }
)
_ORIGINS: Final = MappingProxyType(
    {
        Origin.USER: mark("yours"),
        Origin.CHANNEL: mark("this channel's"),
        Origin.GUILD: mark("this server's"),
        Origin.CONFIG: mark("as the bot comes"),
    }
)
_TABS: Final = MappingProxyType(
    {
        Origin.USER: mark("Mine"),
        Origin.CHANNEL: mark("This channel"),
        Origin.GUILD: mark("This server"),
    }
)
_HEADS: Final = MappingProxyType(
    {
        Origin.USER: mark("**Your settings.** What you type in a prompt always wins over them."),
        Origin.CHANNEL: mark("**This channel's defaults**, for everybody who chose nothing else."),
        Origin.GUILD: mark("**This server's defaults**, for everybody who chose nothing else."),
    }
)
_WORDS: Final = MappingProxyType(
    {
        "subtle": mark("subtle"),
        "strong": mark("strong"),
        "draft": mark("draft"),
        "fast": mark("fast"),
        "relax": mark("relax"),
    }
)


def settings(whose: Origin, lines: Sequence[tuple[Name, Chosen]]) -> str:
    """Head the panel: every value that holds, and whose it is."""
    shown = [
        f"{setting_name(name)} · {code(_word(name, chosen.value), 120)} · "
        f"{tr(_ORIGINS[chosen.origin])}"
        for name, chosen in lines
        if name is not Name.SUFFIX or chosen.value
    ]
    return cut_utf16("\n".join([tr(_HEADS[whose]), *shown]), MESSAGE_LIMIT)


def setting_name(name: Name) -> str:
    """Name a preference."""
    return tr(_NAMES[name])


def setting_choice(name: Name, value: object) -> str:
    """Label a menu's entry or a button: the preference and a value."""
    return cut_utf16(f"{setting_name(name)}: {_word(name, value)}", 80)


def as_before(name: Name) -> str:
    """Label the entry that leaves a preference to whoever is next."""
    return tr("{name}: nothing chosen here", name=setting_name(name))


def more_models() -> str:
    """Label the entry that shows further models."""
    return tr("More models …")


def tab(origin: Origin) -> str:
    """Label a tab of the panel."""
    return tr(_TABS[origin])


def reset() -> str:
    """Label the button that forgets every choice."""
    return tr("Reset")


def not_a_setting() -> str:
    """Answer a choice that there is not, or no longer."""
    return tr("There is no such choice here any more. /settings shows those there are.")


def only_managers() -> str:
    """Refuse the defaults of a channel or server."""
    return tr("Only people with the Manage Server permission change what holds for everybody.")


def _word(name: Name, value: object) -> str:
    if isinstance(value, bool):
        return tr("on") if value else tr("off")
    if isinstance(value, float):
        return f"{value:g}"
    if name in (Name.VARIATION, Name.SPEED) and value in _WORDS:
        return tr(_WORDS[str(value)])
    return plain(str(value), 120)


def suffix_kept(suffix: str | None) -> str:
    """Confirm a suffix, or that there is none any more."""
    if suffix is None:
        return tr("Nothing is put behind your prompts any more.")
    return tr("Behind every prompt of yours now stands {suffix}.", suffix=code(suffix, 600))


def shortcut_kept(name: str, text: str) -> str:
    """Confirm a shortcut, and say how it is typed."""
    return tr(
        "{name} now stands for {text}. Type it behind the words of a prompt.",
        name=code(f"--{name}", 40),
        text=code(text, 1200),
    )


def shortcut_dropped(name: str, *, was_there: bool) -> str:
    """Confirm that a shortcut is gone."""
    if was_there:
        return tr("{name} is no shortcut any more.", name=code(f"--{name}", 40))
    return tr("{name} was no shortcut. Give it a value to make it one.", name=code(f"--{name}", 40))


def too_many_shortcuts(count: int) -> str:
    """Refuse a further shortcut."""
    return tr(
        "You have {count} shortcuts, which is the most. One set without a value goes.", count=count
    )


def shortcuts(kept: Mapping[str, str], *, suffix: str) -> str:
    """List somebody's shortcuts and suffix."""
    lines = [f"{code(f'--{name}', 40)} {code(text, 60)}" for name, text in sorted(kept.items())]
    if suffix:
        lines.append(tr("Behind every prompt: {suffix}", suffix=code(suffix, 200)))
    if not lines:
        return tr("You have no shortcuts. /prefer option set makes one.")
    return cut_utf16("\n".join([tr("**Your shortcuts**"), *lines]), MESSAGE_LIMIT)


def switched(name: Name, value: object) -> str:
    """Confirm a switch."""
    return tr("{setting} from now on.", setting=setting_choice(name, value))


def idea(prompt: str, seed: int) -> str:
    """Show a prompt that was thought of."""
    return tr("How about {prompt}? It is number {seed}.", prompt=code(prompt, 400), seed=seed)


def idea_forgotten() -> str:
    """Answer a button whose prompt is not kept any more."""
    return tr("This prompt is not kept any more. /random thinks of another.")


def paint_it() -> str:
    """Label the button that paints a prompt."""
    return tr("Paint it")


def another() -> str:
    """Label the button that thinks of another prompt."""
    return tr("Another")


def show_what() -> str:
    """Ask which job to show."""
    return tr("Say which one: by its job's id, a link to its message, or the picture as a file.")


def found(job_id: str) -> str:
    """Say which job a picture is of, before it is shown."""
    return tr("It is of job {job}:", job=code(job_id, 40))


def picture_unknown() -> str:
    """Say that a picture is of no job that its sender may see."""
    return tr("This picture is of no job that I can show here. /verify says more about it.")


def refused_file(reason: str) -> str:
    """Refuse a file with a reason, a sentence of ours or one that begins in small letters."""
    told = retold(reason)
    shown = escape(told, 400)
    sentence = f"{shown[:1].upper()}{shown[1:].rstrip('.。')}"
    return tr("{sentence}.", sentence=sentence)


def file_too_large(limit: int) -> str:
    """Refuse a file for its size."""
    return tr("This file is larger than {limit} MiB.", limit=limit // 2**20)


def file_unreadable() -> str:
    """Say that an attached file could not be fetched."""
    return tr("Discord did not give me this file. Send it again.")


def favourites(
    lines: Sequence[HistoryLine], places: Sequence[int], *, search: str | None = None
) -> str:
    """List the pictures somebody marked, the last one first."""
    if not lines and search:
        return tr("No favourites with {search}.", search=code(search, 80))
    if not lines:
        return tr("No favourites yet. ❤️ under a picture marks one.")
    shown = [tr("**Your favourites**, the last one first; /show posts one again:")]
    for line, place in zip(lines, places, strict=True):
        which = "" if place == 0 else f" · {tr('picture {index}', index=place)}"
        shown.append(f"{history_line(line)}{which}")
    return cut_utf16("\n".join(shown), MESSAGE_LIMIT)
