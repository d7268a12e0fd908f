"""The faults of a prompt as a whole: words where flags belong, flags that are none, links.

Promises that every fault has its place, a sentence, and where something was meant the text mended.
Never raises by itself but for the two checks of words; the parser does.
"""

import re
from typing import Final

from bot.language import tr
from bot.prompt import values
from bot.prompt.errors import Flaw
from bot.prompt.flags import KNOWN, LATER_BY_NAME, Kind, Later
from bot.prompt.mend import clip, nearest, splice
from bot.prompt.parsed import Span
from bot.prompt.scan import LINK, Mark, find_marks, find_nearly
from bot.prompt.values import Piece, Site

_GLUED_VALUE: Final = re.compile(r"([a-z]+)-?([\d.:,/=].*)")
_YES: Final = frozenset({"yes", "true", "on", "1"})
_NO: Final = frozenset({"no", "false", "off", "0"})
_ONLY_SIGNS: Final = re.compile(r"[,;.:!|\s]+")


def twice(site: Site, first: Span) -> Flaw:
    """Refuse a flag given twice; mended, the later one holds, and two lists become one."""
    piece = values.body(site)
    if site.flag.kind is Kind.TEXT and piece.text:
        text = splice(site.text, site.start, piece.end, "")
        mended = f"{text[: first.end]}, {piece.text}{text[first.end :]}"
    else:
        mended = splice(site.text, first.flag, first.end, "")
    return Flaw(
        tr("--{name} stands here for the second time; once is enough.", name=site.flag.name),
        start=site.start,
        end=site.after,
        mended=mended,
    )


def after_flags(site: Site, piece: Piece) -> Flaw:
    """Refuse what stands behind a flag and belongs to none."""
    rest = site.text[piece.end : site.stop]
    start = piece.end + len(rest) - len(rest.lstrip())
    end = piece.end + len(rest.rstrip())
    stray = site.text[start:end]
    without = splice(site.text, start, end, "")
    if _ONLY_SIGNS.fullmatch(stray):
        message = tr(
            "Flags stand behind each other with spaces alone; “{stray}” is too much.",
            stray=clip(stray),
        )
        return Flaw(message, start=start, end=end, mended=without)
    if site.flag.kind is Kind.TOGGLE and stray.casefold() in _YES | _NO:
        whole = splice(site.text, site.start, end, "")
        message = tr(
            "{label} takes no value: it is on where it stands, and off where not.",
            label=site.label,
        )
        mended = without if stray.casefold() in _YES else whole
        return Flaw(message, start=start, end=end, mended=mended)
    first = next(find_marks(site.text)).start
    return Flaw(
        tr("These words stand behind {label}. Words come first, flags last.", label=site.label),
        start=start,
        end=end,
        mended=splice(without, first, first, stray),
    )


def rivals(site: Site, rival: str) -> Flaw:
    """Refuse a flag beside another that says the same differently; mended, the first holds."""
    value = values.body(site)
    word = value.text.split(maxsplit=1)[:1] if site.flag.kind is not Kind.TOGGLE else []
    end = value.start + len(word[0]) if word else site.after
    return Flaw(
        tr(
            "--{first} and --{second} exclude each other; one is enough.",
            first=rival,
            second=site.flag.name,
        ),
        start=site.start,
        end=site.after,
        mended=splice(site.text, site.start, end, ""),
    )


def _space_missing(label: str) -> str:
    return tr("A space is missing behind {label}.", label=label)


def glued(site: Site) -> Flaw:
    """Refuse a value that hangs on its flag."""
    tail = site.text[site.after : site.stop].split(maxsplit=1)[0]
    end = site.after + len(tail)
    mended = splice(site.text, site.after, end, tail.lstrip(",;.:!|"))
    return Flaw(
        _space_missing(site.label),
        start=site.start,
        end=end,
        mended=mended,
    )


def not_a_flag(text: str, mark: Mark) -> Flaw:
    """Refuse a flag that is not in the table, with the nearest that is."""
    later = LATER_BY_NAME.get(mark.name)
    if later is not None:
        return _not_yet(text, mark, later)
    near = nearest(mark.name, KNOWN)
    hanging = _GLUED_VALUE.fullmatch(mark.name + _tail(text, mark))
    if hanging and hanging[1] in KNOWN:
        near, message = hanging[1], _space_missing(f"--{hanging[1]}")
        fixed = f"--{near} {hanging[2].lstrip('=')}"
        end = mark.after + len(_tail(text, mark))
        mended = splice(text, mark.start, end, fixed)
        return Flaw(message, start=mark.start, end=end, mended=mended)
    message = tr("There is no flag --{name}.", name=clip(mark.typed))
    if near is not None:
        message += " " + tr("The nearest is --{name}.", name=near)
        mended = splice(text, mark.start, mark.after, f"--{near}")
    else:
        mended = _without_flag(text, mark)
    return Flaw(message, start=mark.start, end=mark.after, mended=mended)


def _tail(text: str, mark: Mark) -> str:
    """Return what is glued to a flag's name, up to the next space."""
    if mark.after >= mark.stop or text[mark.after].isspace():
        return ""
    return text[mark.after : mark.stop].split(maxsplit=1)[0]


def _without_flag(text: str, mark: Mark) -> str:
    """Mend an unknown flag: prose gets its dash back, a flag with a number goes."""
    if mark.long_dash:
        return splice(text, mark.start, mark.after, f"— {mark.typed}")
    rest = text[mark.after : mark.stop].split()
    if len(rest) <= 1 and all(word[:1].isdecimal() or word[:1] in ".-" for word in rest):
        return splice(text, mark.start, mark.stop, "")
    return splice(text, mark.start, mark.after, mark.typed)


def _not_yet(text: str, mark: Mark, later: Later) -> Flaw:
    rest = text[mark.after : mark.stop]
    end = mark.after
    if later.takes_value and rest.strip():
        word = rest.split(maxsplit=1)[0]
        end = mark.after + rest.index(word) + len(word)
    return Flaw(
        tr(
            "This version does not have --{name} yet ({about}).",
            name=mark.name,
            about=tr(later.about),
        ),
        start=mark.start,
        end=mark.after,
        mended=splice(text, mark.start, end, ""),
    )


def no_words(text: str, stop: int, *, has_flags: bool) -> Flaw:
    """Refuse a prompt without words."""
    message = tr("The prompt is empty: say what the picture should show.")
    if has_flags:
        message = tr("There are only flags here: say first what the picture should show.")
    return Flaw(message, start=0, end=min(stop + 1, len(text)))


def check_words(text: str, stop: int) -> None:
    """Refuse links, and what looks like a flag among the words."""
    _check_links(text)
    nearly = find_nearly(text, stop, KNOWN)
    if nearly is None:
        return
    name = nearly["name"]
    raise Flaw(
        tr(
            "Is this meant as the flag --{name}? A flag has a space before it, two dashes, and "
            "none between them and its name.",
            name=name.lower(),
        ),
        start=nearly.start("dash"),
        end=nearly.end("name"),
        mended=splice(text, nearly.start(), nearly.end("name"), f"--{name.lower()}"),
    )


def _check_links(text: str) -> None:
    link = LINK.search(text)
    if link is not None:
        raise Flaw(
            tr(
                "Links are never opened here, so a picture behind one cannot be used: attach it "
                "to /imagine as the option image, or describe it in words."
            ),
            start=link.start(),
            end=link.end(),
            mended=splice(text, link.start(), link.end(), ""),
        )
