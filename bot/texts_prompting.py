"""What people read while a prompt is taken in: questions before it, and refusals.

Promises what `bot.texts` promises. Knows neither Discord's objects nor the database's.
"""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

from bot.escape import code
from bot.language import mark, tr, trn
from bot.texts_jobs import seconds

LABELS: Final = MappingProxyType({"go": mark("Go"), "no": mark("No")})
OPTIONS: Final = MappingProxyType(
    {
        "image": mark("A picture to start from; --strength or --iw say how much of it stays"),
        "preset": mark("A style template; --preset in the prompt wins"),
    }
)
_SHOWN: Final = 3


def permutation_asked(prompts: Sequence[str], *, jobs: int, eta: float | None) -> str:
    """Ask before a prompt becomes many."""
    if eta is None:
        head = tr("This makes {jobs} jobs:", jobs=jobs)
    else:
        took = seconds(eta).removeprefix("~")
        head = tr("This makes {jobs} jobs, about {seconds} of the device:", jobs=jobs, seconds=took)
    lines = [f"- {code(prompt, 200)}" for prompt in prompts[:_SHOWN]]
    rest = len(prompts) - _SHOWN
    if rest > 0:
        lines.append(trn("- and one more", "- and {count} more", rest))
    return "\n".join([head, *lines])


def too_many_prompts(*, prompts: int, limit: int) -> str:
    """Refuse a prompt that stands for too many."""
    return trn(
        "These braces ask for {prompts} prompts; one at a time is what you may here.",
        "These braces ask for {prompts} prompts; {count} are the most for you here.",
        limit,
        prompts=prompts,
    )


def nothing_started() -> str:
    """Answer No."""
    return tr("Nothing was started.")


def already_started() -> str:
    """Answer a second Go."""
    return tr("These jobs were started already. /info shows where they are.")


def question_gone() -> str:
    """Answer a Go whose question is no longer known."""
    return tr("This question is too old to be answered. Type the prompt again.")


def picture_gone() -> str:
    """Refuse a prompt whose picture is not kept any more."""
    return tr("The picture of this prompt is not kept any more: attach it again.")
