"""Style templates and the house style: words of the admin around the words of a prompt.

Promises pure functions. What is put around goes around every part that counts for the picture
(`a::2 b`, `a AND b`), and never around a part of weight below 0, which says what to leave out.
"""

import re
from typing import Final

from diffusion.prompts import split_and, split_parts

SLOT: Final = "{prompt}"
NO_WEIGHT: Final = -0.5
_NUMBER: Final = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
_SEPARATORS: Final = re.compile(rf"(?:\s*::(?:{_NUMBER})?)+\s*")
_AND: Final = re.compile(rf"((?:\s*:\s*{_NUMBER})?\s*\bAND\b\s*)")
_LAST_WEIGHT: Final = re.compile(rf"\s*:\s*{_NUMBER}\s*$")
_LAST_PART_WEIGHT: Final = re.compile(rf"::(?:{_NUMBER})?\s*$")


def in_template(template: str, prompt: str) -> str:
    """Put a prompt into the slot of a template."""
    before, _, after = template.partition(SLOT)
    return around(prompt, before, after)


def in_house_style(style: str, stylize: int, prompt: str) -> str:
    """Add the house style at its weight in percent; 0 adds nothing."""
    if not style or stylize == 0:
        return prompt
    weight = stylize / 100
    return around(prompt, "", f", {style}" if stylize == 100 else f", ({style}:{weight:g})")


def around(prompt: str, before: str, after: str) -> str:
    """Put words before and after every part of a prompt that counts for the picture.

    ParamsError where the parts' weights do not sum to more than 0.
    """
    if is_multi(prompt):
        text = _around_parts(prompt, before, after)
    elif len(split_and(prompt)) > 1:
        text = _around_conditions(prompt, before, after)
    else:
        text = f"{before}{prompt}{after}"
    return " ".join(text.split())


def _around_parts(prompt: str, before: str, after: str) -> str:
    out, place = [], 0
    for words, weight in split_parts(prompt):
        skipped = _SEPARATORS.match(prompt, place)
        start = prompt.index(words, place if skipped is None else skipped.end())
        out += [prompt[place:start], f"{before}{words}{after}" if weight > 0 else words]
        place = start + len(words)
    return "".join([*out, prompt[place:]])


def _around_conditions(prompt: str, before: str, after: str) -> str:
    pieces = _AND.split(prompt)
    for number, (_, weight) in enumerate(split_and(prompt)):
        words = pieces[2 * number]
        tail = _LAST_WEIGHT.search(words)
        end = len(words) if tail is None else tail.start()
        if weight > 0:
            pieces[2 * number] = f"{before}{words[:end]}{after}{words[end:]}"
    # With spaces: where a side was empty, AND would end up inside a word.
    return " ".join(pieces)


def is_multi(prompt: str) -> bool:
    """Say whether `::` divides a prompt, or weighs it; ParamsError as for `around`."""
    return split_parts(prompt) != ((prompt, 1.0),)


def with_part(prompt: str, unwanted: str) -> str | None:
    """Write what is unwanted as a part of a multi-prompt, as Midjourney reads `--no` beside `::`.

    None where brackets keep it from being a part of its own; ParamsError as for `around`.
    """
    separator = " " if _LAST_PART_WEIGHT.search(prompt) else ":: "
    joined = f"{prompt}{separator}{unwanted}::{NO_WEIGHT:g}"
    return joined if len(split_parts(joined)) == len(split_parts(prompt)) + 1 else None
