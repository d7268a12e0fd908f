"""Regular expressions that admins write: read once, refused where they could hang, and fast.

Promises that matching any prompt takes a bounded number of tries. Python's matcher goes back over
every choice, so the choices of a pattern are multiplied and limited: `*` and `+` stand for at most
`REPEATS` signs, and what repeats may not repeat again inside (`(a+)+`), which is what makes a
pattern of ten signs run for years. Case and width of letters never matter.
"""

import re
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

LONGEST: Final = 200
REPEATS: Final = 32
MOST_TRIES: Final = 2048

_TOKEN: Final = re.compile(
    r"(?P<escape>\\(?:[0-9]{1,3}|.))"
    r"|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])"
    r"|(?P<open>\((?:\?(?:[aiLmsux-]+:|[:=!>]|<[=!]|P<\w+>))?)"
    r"|(?P<close>\))"
    r"|(?P<repeat>(?:[*+?]|\{[0-9]*,?[0-9]*\})[?+]?)"
    r"|(?P<or>\|)"
    r"|(?P<sign>.)",
    re.DOTALL,
)
_BOUNDS: Final = re.compile(r"\{([0-9]*)(,?)([0-9]*)\}")


@dataclass(slots=True)
class Part:
    """What is read of one group: the choices of each branch, multiplied; and of the last piece."""

    done: int = 0
    tries: int = 1
    last: int = 1

    def piece(self, tries: int) -> None:
        """Read one sign, set or group that could match in so many ways."""
        self.tries *= self.last
        self.last = tries

    def branch(self) -> None:
        """Begin another alternative."""
        self.done += self.tries * self.last
        self.tries = self.last = 1

    @property
    def total(self) -> int:
        """Return in how many ways the group could match."""
        return self.done + self.tries * self.last


def check_pattern(text: str) -> str:
    """Return a pattern that can be used; ValueError with what is wrong with it."""
    if not text.strip():
        raise ValueError("must not be empty")
    if len(text) > LONGEST:
        raise ValueError(f"is a pattern of {len(text)} signs; {LONGEST} are the most")
    try:
        bounded(text)
        # What a later Python will read otherwise blocks something else one day.
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)
            compiled(text)
    except FutureWarning as error:
        raise ValueError(
            "has a bracket or a double sign (--, &&, ~~, ||) inside [...]: write \\[ or \\- there"
        ) from error
    except re.error as error:
        raise ValueError(f"is no regular expression: {error.msg} at sign {error.pos}") from error
    except (OverflowError, RecursionError) as error:
        raise ValueError("is no regular expression that can be used") from error
    return text


@lru_cache(maxsize=1000)
def compiled(text: str) -> re.Pattern[str]:
    """Return the pattern, bounded, whatever the case."""
    return re.compile(bounded(text), re.IGNORECASE)


def bounded(text: str) -> str:
    """Write a pattern with bounded repeats; ValueError where it could try too often."""
    parts, written = [Part()], ""
    for token in _TOKEN.finditer(text):
        kind, signs = str(token.lastgroup), token[0]
        match kind:
            case "open":
                if text[token.end() : token.end() + 1] == "?":
                    raise ValueError("has a kind of group that is not allowed in here")
                parts.append(Part())
            case "close" if len(parts) > 1:
                inner = parts.pop().total
                parts[-1].piece(inner)
            case "or":
                parts[-1].branch()
            case "repeat":
                signs = _repeat(signs, parts[-1])
            case "escape" if signs[1:].isdigit() and signs[1] != "0":
                raise ValueError("refers back to a group, which is not allowed in here")
            case _:
                parts[-1].piece(1)
        written += signs
    if parts[0].total > MOST_TRIES:
        raise ValueError(
            f"could be tried in {parts[0].total:,} ways, and {MOST_TRIES:,} are the most: use "
            "fewer * and +, or ranges such as {0,5}"
        )
    return written


def _repeat(signs: str, part: Part) -> str:
    """Count a repeat of the last piece, and write it with an end."""
    lazy = signs[1:] if signs[0] in "*+?" else signs[signs.index("}") + 1 :]
    least, most = _range(signs)
    if part.last > 1 and most > 1:
        raise ValueError(
            "repeats something that repeats or chooses inside, as in (a+)+, which could take for "
            "ever; write it without one of the two"
        )
    part.last *= most - least + 1
    return f"{{{least},{most}}}{lazy}"


def _range(signs: str) -> tuple[int, int]:
    if signs[0] in "*+?":
        return {"*": (0, REPEATS), "+": (1, REPEATS), "?": (0, 1)}[signs[0]]
    found = _BOUNDS.match(signs)
    first, comma, second = found.groups() if found else ("", "", "")
    if not first and not second:
        raise ValueError("has a brace that stands for no range; write \\{ for the sign itself")
    least = int(first or 0)
    most = int(second) if second else (max(least, REPEATS) if comma else least)
    if most > 100 or least > most:
        raise ValueError(f"repeats {signs}; up to 100 times is allowed")
    return least, most
