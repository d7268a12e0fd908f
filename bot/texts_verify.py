"""What people read when they ask whether a picture was made here.

Promises what `bot.texts` promises, and that each sentence claims as much as was shown and no more.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from bot.escape import MESSAGE_LIMIT, code, cut_utf16, escape
from bot.language import mark, tr

# By the values of `bot.origins.Sureness`.
_MATCHES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "file": mark("**Made here.** It is {what} of job {job}, byte for byte."),
        "pixels": mark(
            "**Made here.** Every pixel is that of {what} of job {job}; only the file around them "
            "is another."
        ),
        "like": mark(
            "**Very likely made here.** It looks like {what} of job {job}: {apart} of 64 features "
            "differ."
        ),
        "says": mark(
            "**Not shown.** The file says it is {what} of job {job}, but its pixels are not those "
            "that are kept, or they are not kept any more. Such a note can be copied."
        ),
    }
)
_HERE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "file": mark("**Made here,** byte for byte. More of it is not for this place to show."),
        "pixels": mark("**Made here,** pixel for pixel. More of it is not for this place to show."),
        "like": mark("**Very likely made here.** More of it is not for this place to show."),
    }
)


def match(sureness: str, *, job_id: str, index: int, apart: int | None, link: str | None) -> str:
    """Say what a picture is, and how sure that is."""
    what = tr("the grid") if index == 0 else tr("picture {index}", index=index)
    text = tr(_MATCHES[sureness], what=what, job=code(job_id, 40), apart=apart or 0)
    return text if link is None else f"{text} {link}"


def found(lines: Sequence[str]) -> str:
    """Join the matches; several are equally sure."""
    return cut_utf16("\n".join(lines), MESSAGE_LIMIT)


def made_here(sureness: str) -> str:
    """Say that a picture was made here, and nothing else."""
    return tr(_HERE[sureness])


def unknown(*, says_job: bool, program: str | None) -> str:
    """Say that nothing here is like a picture, and what its file claims."""
    lines = [tr("**Not found.** No picture that is kept here is this one, or looks like it.")]
    if says_job:
        lines.append(tr("The file says that Easel made it, but nothing here bears that out."))
    elif program is not None:
        lines.append(tr("The file says that {program} made it.", program=escape(program, 80)))
    lines.append(
        tr(
            "That is no proof of anything: pictures here may have been deleted, and a picture "
            "without any mark may still be a machine's."
        )
    )
    return "\n".join(lines)


def paint_again() -> str:
    """Label the button that paints a picture again."""
    return tr("Paint again and compare")


def compared(*, pixels: int, differ: int) -> str:
    """Say whether every pixel came back."""
    if differ == 0:
        return tr("Painted again: **the same picture**, all {pixels:,} pixels.", pixels=pixels)
    return tr(
        "Painted again: **{differ:,} of {pixels:,} pixels differ.** Another device, another "
        "version or another precision can do that; so can a changed model.",
        differ=differ,
        pixels=pixels,
    )


def not_paintable() -> str:
    """Say that a picture cannot be painted again."""
    return tr(
        "It cannot be painted again here: its model, what it was made from, or its own file is "
        "gone."
    )


def busy() -> str:
    """Refuse a second comparison while one runs."""
    return tr("Somebody else's picture is being painted again just now. Try in a minute.")
