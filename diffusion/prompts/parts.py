"""A prompt's parts: LoRA tags, multi-prompts `a::2 b::-0.5`, and `AND` with weights.

Promises: the parts' weights say how noise predictions combine: negative + w * (part - negative),
summed. Multi-prompt weights are normalised to a sum of 1 (Midjourney), weights of `AND` are not
(AUTOMATIC1111; Liu et al. 2022, section 4). Never looks a LoRA's name up.
"""

import math
import re
from dataclasses import dataclass

from diffusion.errors import ParamsError
from diffusion.prompts.editing import schedule

_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
_LORA = re.compile(r"<lora:([^<>]*)>")
_AND = re.compile(r"\bAND\b")
_WEIGHT = re.compile(r"\s*([-+]?(?:\d+\.?|\d*\.\d+))")
_SEPARATOR = re.compile(rf"::({_NUMBER})?")
_BRACKET = re.compile(r"\\.|[()\[\]]")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraTag:
    """`<lora:name:unet:text>`: a LoRA by name, and its weight in the backbone and in the text."""

    name: str
    unet: float
    text: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One condition: its weight, and (last step, prompt) pairs; steps count from 1."""

    weight: float
    schedule: tuple[tuple[int, str], ...]

    def at(self, step: int) -> str:
        """Return the prompt of a step; steps beyond the last keep the last prompt."""
        return next((text for end, text in self.schedule if step <= end), self.schedule[-1][1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A parsed prompt: the LoRAs it asks for, and its parts, at least one."""

    loras: tuple[LoraTag, ...]
    parts: tuple[Part, ...]


def parse_prompt(text: str, steps: int, *, first_pass: int | None = None) -> Prompt:
    """Take a whole prompt apart; see `schedule` for `steps` and `first_pass`.

    Raises ParamsError when multi-prompt weights do not sum to more than 0, when `AND` and `::` are
    mixed, and for a LoRA tag that cannot be read.
    """
    words, loras = extract_loras(text)
    multi = split_parts(words)
    conditions = split_and(words)
    if len(conditions) > 1:
        if len(multi) > 1:
            raise ParamsError(
                "prompt", text, "AND and :: do not mix; join the parts with one of them"
            )
        multi = conditions
    parts = tuple(
        Part(weight=weight, schedule=schedule(part, steps, first_pass=first_pass))
        for part, weight in multi
    )
    return Prompt(loras=loras, parts=parts)


def extract_loras(text: str) -> tuple[str, tuple[LoraTag, ...]]:
    """Return the text without its LoRA tags, and the tags.

    `<lora:a>` weighs 1, `<lora:a:0.8>` 0.8 in both networks, `<lora:a:0.8:0.5>` 0.8 in the backbone
    and 0.5 in the text encoders. Raises ParamsError for a tag without a name or with other weights.
    """
    return _LORA.sub("", text), tuple(_tag(match) for match in _LORA.finditer(text))


def _tag(match: re.Match[str]) -> LoraTag:
    name, *weights = (field.strip() for field in match[1].split(":"))
    numbers = [float(weight) for weight in weights if re.fullmatch(_NUMBER, weight)]
    whole = len(numbers) == len(weights) <= 2 and all(map(math.isfinite, numbers))
    if not name or not whole:
        raise ParamsError("prompt", match[0], "write <lora:name:0.8> or <lora:name:0.8:0.5>")
    unet, words = (*numbers, *numbers, 1.0, 1.0)[:2]
    return LoraTag(name=name, unet=unet, text=words)


def split_and(text: str) -> tuple[tuple[str, float], ...]:
    """Split at the word AND; each side may end in ` :1.2`, its weight (1 otherwise).

    A text without AND comes back whole: "16:9" at its end is no weight.
    """
    parts = _AND.split(text)
    return tuple(_weighed(part) for part in parts) if len(parts) > 1 else ((text, 1.0),)


def _weighed(text: str) -> tuple[str, float]:
    trimmed = text.rstrip()
    words, colon, tail = trimmed.rpartition(":")
    weight = _WEIGHT.fullmatch(tail)
    if not colon or weight is None or not math.isfinite(float(weight[1])):
        return trimmed, 1.0
    return words.rstrip(), float(weight[1])


def split_parts(text: str) -> tuple[tuple[str, float], ...]:
    """Split a multi-prompt at `::`, outside brackets; weights are normalised to a sum of 1.

    The number right after `::` weighs the part before it; without one the part weighs 1. A text
    without `::` comes back whole. Raises ParamsError when the weights' sum is not above 0.
    """
    inside = _inside_brackets(text)
    parts: list[tuple[str, float]] = []
    start = 0
    for match in _SEPARATOR.finditer(text):
        if not inside[match.start()]:
            parts.append((text[start : match.start()].strip(), float(match[1] or 1.0)))
            start = match.end()
    if not parts:
        return ((text, 1.0),)
    parts.append((text[start:].strip(), 1.0))
    parts = [(words, weight) for words, weight in parts if words]
    if not parts:
        return (("", 1.0),)
    total = sum(weight for _, weight in parts)
    if not 0 < total < float("inf"):
        raise ParamsError(
            "prompt", text, f"the weights of its parts sum to {total:g}; make it a number above 0"
        )
    return tuple((words, weight / total) for words, weight in parts)


def _inside_brackets(text: str) -> list[bool]:
    """Say for every character whether a closed pair of brackets encloses it."""
    change = [0] * (len(text) + 1)
    opened: dict[str, list[int]] = {"[": [], "(": []}
    for match in _BRACKET.finditer(text):
        bracket = match[0]
        if bracket in opened:
            opened[bracket].append(match.start())
        elif bracket in ("]", ")"):
            stack = opened["[" if bracket == "]" else "("]
            if stack:
                change[stack.pop()] += 1
                change[match.start()] -= 1
    depth = 0
    inside = []
    for step in change:
        depth += step
        inside.append(depth > 0)
    return inside
