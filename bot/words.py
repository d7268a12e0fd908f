"""The words of one run: drawn, put into their template and style, and checked.

Promises that what comes out can be painted (`diffusion.prompts` accepts it) and typed again, or is
a PromptError with its place. Draws from the seed that it is given and from nothing else.
"""

from dataclasses import dataclass

from bot.config_models import PresetConfig
from bot.language import tr
from bot.presets import in_house_style, in_template, is_multi, with_part
from bot.prompt import Lists, ParsedPrompt, PromptError
from bot.prompt.draw import draw_or_flaw, escaped, mended
from bot.prompt.errors import Flaw
from bot.prompt.faults import check_words
from bot.prompt.printing import words_text
from bot.prompt.scan import find_marks
from bot.refusals import refuse
from bot.texts_engine import retold
from diffusion import ParamsError
from diffusion.params import MAX_PROMPT_LENGTH
from diffusion.prompts import parse_prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """The words with everything drawn, and the whole prompt as it is shown."""

    prompt: str
    negative: str
    text: str


def drawn(parsed: ParsedPrompt, seed: int, lists: Lists) -> Drawn:
    """Draw the wildcards of a prompt."""
    prompt = _drawn(parsed, parsed.prompt, seed, lists, stream="prompt")
    negative = _drawn(parsed, parsed.negative_prompt or "", seed, lists, stream="negative")
    if not prompt:
        message = tr("What was drawn here leaves no words: say what the picture should show.")
        raise PromptError(message, text=parsed.text, start=0, end=parsed.words)
    # What is shown can be typed again, and then means the same.
    text, shown, unwanted = parsed.text, escaped(prompt), escaped(negative)
    span = parsed.spans.get("no")
    if span is not None and unwanted != parsed.negative_prompt:
        text = f"{text[: span.start]}{unwanted}{text[span.end :]}"
    if shown != parsed.prompt:
        text = f"{words_text(shown)} {text[parsed.words :]}".rstrip()
    return Drawn(prompt=prompt, negative=negative, text=text)


def _drawn(parsed: ParsedPrompt, words: str, seed: int, lists: Lists, *, stream: str) -> str:
    try:
        found = " ".join(draw_or_flaw(words, seed, lists, stream=stream).split())
        if found != words:
            _check_drawn(found)
    except Flaw as flaw:
        fixed = mended(flaw, seed, lists, stream)
        whole = fixed
        if fixed is not None and stream == "prompt":
            whole = f"{fixed} {parsed.text[parsed.words :]}".rstrip()
        elif fixed is not None:
            span = parsed.spans["no"]
            whole = f"{parsed.text[: span.start]}{fixed}{parsed.text[span.end :]}"
        raise PromptError(
            flaw.message, text=words, start=flaw.start, end=flaw.end, suggestion=whole
        ) from None
    return found


def _check_drawn(words: str) -> None:
    """Refuse flags and links that only a draw brought in."""
    check_words(words, len(words))
    found = next(find_marks(words), None)
    if found is not None:
        message = tr("What was drawn here holds a flag, and flags cannot be drawn.")
        raise Flaw(message, start=0, end=len(words))


def finished(
    parsed: ParsedPrompt,
    words: Drawn,
    preset: PresetConfig | None,
    house_style: str,
    stylize: int,
) -> tuple[str, str]:
    """Return prompt and negative prompt as they are painted."""
    negative = words.negative
    try:
        # What was typed is checked alone first, so that a fault is told as its writer's.
        parse_prompt(words.prompt, 1)
        prompt = words.prompt
        if preset is not None:
            prompt = in_template(preset.prompt, prompt)
            negative = ", ".join(part for part in (negative, preset.negative) if part)
        prompt = in_house_style(house_style, stylize, prompt)
        if negative and is_multi(prompt):
            prompt, negative = _with_unwanted(parsed, prompt, negative), ""
        parse_prompt(prompt, 1)
        if not _is_one_condition(negative):
            raise refuse(parsed, "no", _one_condition(), None)
    except ParamsError as error:
        message = tr("This prompt cannot be read: {advice}.", advice=retold(error.advice))
        raise PromptError(message, text=parsed.text, start=0, end=len(parsed.text)) from error
    if max(len(prompt), len(negative)) > MAX_PROMPT_LENGTH:
        message = tr(
            "With its style this prompt is longer than {limit:,} characters; shorten it.",
            limit=MAX_PROMPT_LENGTH,
        )
        raise PromptError(message, text=parsed.text, start=0, end=len(parsed.text))
    return prompt, negative


def _with_unwanted(parsed: ParsedPrompt, prompt: str, negative: str) -> str:
    """Put `--no` into a multi-prompt, as a part of weight -0.5."""
    joined = with_part(prompt, negative) if _is_one_condition(negative) else None
    if joined is None:
        raise refuse(parsed, "no", _one_condition(), None)
    return joined


def _is_one_condition(negative: str) -> bool:
    return not is_multi(negative) and len(parse_prompt(negative, 1).parts) == 1


def _one_condition() -> str:
    return tr("The negative prompt is one condition: AND and :: do not belong into it.")
