"""What the engine says about files and prompts, in the language that is spoken.

Promises that a sentence of the engine's that stands here is translated with its values, and that
any other is said in English as it is. The engine speaks no languages and knows none of this; a test
holds its sentences against the table.
"""

import re
import string
from functools import cache
from typing import Final

from bot.language import mark, tr

_SAID: Final = (
    mark("this file has {size} MiB; pictures may have {limit} MiB"),
    mark("this file is no PNG, JPEG or WebP picture"),
    mark("this picture is damaged and cannot be read ({error})"),
    mark("the notes in this picture are damaged ({error})"),
    mark(
        "this picture has far too many pixels; at most {most} million are taken, and {side} a side"
    ),
    mark("this picture has {size} pixels; at most {most} million are taken, and {side} a side"),
    mark("this picture has {size} pixels: there is nothing to see"),
    mark("this is an animation of {frames} frames; send a still picture"),
    mark("AND and :: do not mix; join the parts with one of them"),
    mark("write <lora:name:0.8> or <lora:name:0.8:0.5>"),
    mark("the weights of its parts sum to {sum}; make it a number above 0"),
    mark("one of its prompts has no words"),
    mark("the limit is {limit} characters; shorten it"),
    mark("the limit is {limit} characters in all; shorten them"),
)


def retold(sentence: str) -> str:
    """Return what the engine said, in the language that is spoken."""
    for template, pattern in _patterns():
        found = pattern.fullmatch(sentence)
        if found is not None:
            return tr(template, **found.groupdict())
    return sentence


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((template, re.compile(_pattern(template), re.DOTALL)) for template in _SAID)


def _pattern(template: str) -> str:
    return "".join(
        re.escape(text) + ("" if name is None else f"(?P<{name}>.*?)")
        for text, name, _, _ in string.Formatter().parse(template)
    )
