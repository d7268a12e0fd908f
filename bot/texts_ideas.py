"""What people read of /describe, /shorten, /blend, /morph, /grid, message menu and reactions.

Promises that words of people and of models went through `bot.escape`, and that every refusal says
what to do instead. Sends nothing.
"""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

from bot.escape import MESSAGE_LIMIT, code, cut_utf16, escape
from bot.language import mark, tr
from bot.texts_engine import retold

COMMANDS: Final = MappingProxyType(
    {
        "describe": mark("Four prompts for a picture"),
        "shorten": mark("Which words of a prompt matter, and shorter prompts"),
        "blend": mark("Mix two to five pictures"),
        "morph": mark("A film that goes from one prompt to another"),
        "grid": mark("Compare settings side by side, with labels"),
    }
)
OPTIONS: Final = MappingProxyType(
    {
        "picture": mark("The picture to describe"),
        "shorten": mark("The prompt to look into"),
        "blended": mark("A picture to mix"),
        "words": mark("What the mixture should show; without it the pictures speak for themselves"),
        "dimensions": mark("The shape of the mixture"),
        "from": mark("The prompt it begins with; flags are welcome"),
        "to": mark("The prompt it ends with"),
        "through": mark("Prompts on the way, with | between them"),
        "frames": mark("Pictures of the film"),
        "compared": mark("The prompt to compare settings of"),
        "x": mark("What changes from left to right, as in steps=10,20,30"),
        "y": mark("What changes from top to bottom, as in cfg=4,7"),
    }
)
DIMENSIONS: Final = MappingProxyType(
    {"2:3": mark("Portrait"), "1:1": mark("Square"), "3:2": mark("Landscape")}
)
MENUS: Final = MappingProxyType(
    {
        "info": mark("Info"),
        "remix": mark("Remix"),
        "upscale": mark("Upscale"),
        "describe": mark("Describe"),
        "delete": mark("Delete"),
    }
)


def described(prompts: Sequence[str]) -> str:
    """List the prompts that a picture was described by."""
    lines = [f"{number}. {code(prompt, 300)}" for number, prompt in enumerate(prompts, start=1)]
    head = tr("This is how I would ask for it. A button takes one, and you may change it:")
    return cut_utf16("\n".join([head, *lines]), MESSAGE_LIMIT)


def cannot_describe(alias: str) -> str:
    """Say that a model has nothing that names pictures, and what would."""
    return tr(
        "The model {model} has nothing that names pictures. The model that ships with this bot "
        "does: the admin adds it to config.toml with path = “emoji”.",
        model=code(alias, 40),
    )


def cannot_weigh(alias: str) -> str:
    """Say that a model does not listen to words."""
    return tr(
        "The model {model} does not listen to words in a way that can be measured.",
        model=code(alias, 40),
    )


def bad_picture(reason: str) -> str:
    """Refuse an attached file."""
    told = retold(reason.rstrip("."))
    return tr("This picture cannot be used: {reason}.", reason=escape(told, 300))


def shortened(marked: str, prompts: Sequence[str]) -> str:
    """Show which words matter and the shorter prompts."""
    head = tr("**Bold** words steer the picture, ~~struck~~ ones hardly do (measured):")
    if not prompts:
        return cut_utf16(f"{head}\n{marked}\n{one_word()}", MESSAGE_LIMIT)
    lines = [f"{number}. {code(prompt, 250)}" for number, prompt in enumerate(prompts, start=1)]
    return cut_utf16("\n".join([head, cut_utf16(marked, 700), *lines]), MESSAGE_LIMIT)


def one_word() -> str:
    """Say that a prompt cannot get shorter."""
    return tr("This prompt is as short as it gets.")


def idea_gone() -> str:
    """Answer a button whose prompt is not kept any more."""
    return tr("This prompt is not kept any more. /describe and /shorten make new ones.")


def blended_of(count: int) -> str:
    """Name a mixture in its heading."""
    return tr("blend of {count} pictures", count=count)


def pictures_wanted() -> str:
    """Refuse a blend of one."""
    return tr("A mixture needs two to five pictures; this is one.")


def only_one_prompt() -> str:
    """Refuse braces where there is room for one prompt."""
    return tr("There is room for one prompt here: take out {braces} and --repeat.", braces="`{…}`")


def too_many_phrases(limit: int) -> str:
    """Refuse a morph through too many prompts."""
    return tr("A film goes through at most {limit} prompts. Leave some out.", limit=limit)


def too_few_frames(phrases: int) -> str:
    """Refuse a film shorter than its prompts."""
    return tr(
        "This film has {phrases} prompts, so it needs as many frames at least.", phrases=phrases
    )


def axis_unreadable(typed: str) -> str:
    """Refuse an axis of a comparison that is not name=value,value."""
    return tr(
        "{typed} is no axis. Write a flag's name and values, as in steps=10,20,30, or "
        "prompt=red,blue to put words in place of the first one.",
        typed=code(typed, 60),
    )


def axis_unknown(name: str) -> str:
    """Refuse an axis of something that cannot be compared."""
    return tr(
        "{name} cannot be compared: /help lists the flags, and prompt works.", name=code(name)
    )


def axis_word_missing(word: str) -> str:
    """Refuse to replace a word that is not in the prompt."""
    return tr(
        "The word {word} is not in the prompt, so nothing can take its place.", word=code(word)
    )


def too_many_cells(*, cells: int, limit: int) -> str:
    """Refuse a comparison that is too large."""
    return tr(
        "This comparison has {cells} pictures; {limit} are the most. Give fewer values.",
        cells=cells,
        limit=limit,
    )


def axes_alike() -> str:
    """Refuse two axes of the same thing."""
    return tr("Both axes change the same thing. Choose two different ones.")


def no_job_here() -> str:
    """Answer a menu entry on a message that is none of ours."""
    return tr("This message holds no pictures of mine, so there is nothing to do with it.")


def no_picture_here() -> str:
    """Answer "describe" on a message without a picture."""
    return tr("This message has no picture to describe.")


def which_picture() -> str:
    """Ask which picture of a grid is meant."""
    return tr("Which picture? The order is 1 2 above 3 4.")


def sent_to_you(job_id: str, seed: int, link: str | None) -> str:
    """Head a picture that somebody asked to have in their direct messages."""
    text = tr("Job {job}, seed {seed}.", job=code(job_id, 40), seed=seed)
    return text if link is None else f"{text} {link}"


def bad_phrases(reason: str) -> str:
    """Refuse prompts that a film cannot go through."""
    told = retold(reason.rstrip("."))
    return tr("A film cannot be made of these prompts: {reason}.", reason=escape(told, 300))


def no_single_pictures() -> str:
    """Answer what needs a single picture on a film or a comparison."""
    return tr("This is shown whole: there are no single pictures to go on with.")
