"""From what was typed to what will be painted: flags, then options, then the configuration.

Promises that the same prompt, options, configuration and seed give the same `Params`, complete in
every field, so that a later edit of the configuration changes no job that waits. The pictures keep
the model's own area in whatever shape was asked for. Draws no random number: the seed is given.

Seeds of `--repeat`: run k of a prompt with n pictures a grid starts at seed + k·n (modulo 2³²),
whether the seed was typed or drawn. So no two pictures of the group are the same, each run can be
made again alone by its own seed, and the whole group again by the first one's.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bot.config_models import Config
from bot.prompt import Aspect, ParsedPrompt, PromptError
from bot.prompt.mend import clip, nearest, splice
from diffusion import ModelInfo, Params, ParamsError
from diffusion.prompts import parse_prompt

_SEEDS: Final = 2**32


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the slash command's own options say; a flag in the prompt wins over them."""

    model: str | None = None


def resolve(
    parsed: ParsedPrompt,
    *,
    models: Mapping[str, ModelInfo],
    config: Config,
    seed: int,
    options: Options | None = None,
) -> tuple[Params, ...]:
    """Return the parameters of every run; raise PromptError where flag and server disagree."""
    alias = _model(parsed, models, config, options or Options())
    model, defaults = models[alias], config.defaults
    repeat = _repeat(parsed, config)
    width, height = _size(parsed, model, config)
    guidance = parsed.guidance_scale or defaults.guidance_scale or model.defaults.guidance_scale
    first = seed if parsed.seed is None else parsed.seed
    _check_syntax(parsed)
    return tuple(
        Params(
            prompt=parsed.prompt,
            negative_prompt=parsed.negative_prompt or "",
            seed=(first + run * defaults.images) % _SEEDS,
            steps=_steps(parsed, model, config),
            guidance_scale=guidance,
            sampler=parsed.sampler or defaults.sampler or model.defaults.sampler,
            schedule=parsed.schedule or defaults.schedule or model.defaults.schedule,
            width=width,
            height=height,
            images=defaults.images,
            model=alias,
            stop=100 if parsed.stop is None else parsed.stop,
            tile=parsed.tile,
        )
        for run in range(repeat)
    )


def _check_syntax(parsed: ParsedPrompt) -> None:
    """Refuse weights and tags that cannot be painted before the job is accepted."""
    try:
        parse_prompt(parsed.prompt, 1)
        if len(parse_prompt(parsed.negative_prompt or "", 1).parts) > 1:
            message = "The negative prompt is one condition: AND and :: do not belong into it."
            raise _refuse(parsed, "no", message, None)
    except ParamsError as error:
        message = f"This prompt cannot be read: {error.advice}."
        raise PromptError(message, text=parsed.text, start=0, end=len(parsed.text)) from error


def _model(
    parsed: ParsedPrompt, models: Mapping[str, ModelInfo], config: Config, options: Options
) -> str:
    alias = parsed.model or options.model or config.defaults.model
    if alias in models:
        return alias
    known = ", ".join(sorted(models))
    meant = nearest(alias, models)
    message = f"There is no model “{clip(alias)}” on this server; there are: {known}."
    raise _refuse(parsed, "model", message, meant)


def _repeat(parsed: ParsedPrompt, config: Config) -> int:
    limit, repeat = config.limits.max_repeat, parsed.repeat or 1
    if repeat <= limit:
        return repeat
    message = f"This server allows at most {limit} runs of one prompt, not {repeat}."
    raise _refuse(parsed, "repeat", message, str(limit) if limit > 1 else None)


def _steps(parsed: ParsedPrompt, model: ModelInfo, config: Config) -> int:
    """Multiply the steps by the quality, round half up, and refuse more than the limit."""
    base = parsed.steps or config.defaults.steps or model.defaults.steps
    quality = 1.0 if parsed.quality is None else parsed.quality
    steps, limit = max(1, math.floor(base * quality + 0.5)), config.limits.max_steps
    if steps <= limit:
        return steps
    message = f"This server allows at most {limit} steps; this prompt asks for {steps}."
    if parsed.steps is not None:
        raise _refuse(parsed, "steps", message, str(max(1, math.floor(limit / quality))))
    raise _refuse(parsed, "quality", message, None)


def _size(parsed: ParsedPrompt, model: ModelInfo, config: Config) -> tuple[int, int]:
    aspect = parsed.aspect
    if aspect is None:
        # The native shape need not be square; it is cut down only where the server says so.
        aspect = Aspect(width=model.native_width, height=model.native_height)
    else:
        _check_aspect(parsed, aspect, config.limits.max_aspect)
    return fit(aspect, model, max_pixels=config.limits.max_pixels)


def _check_aspect(parsed: ParsedPrompt, aspect: Aspect, limit: float) -> None:
    ratio = aspect.width / aspect.height
    if 1 / limit <= ratio <= limit:
        return
    whole = max(1, math.floor(limit))
    meant = f"{whole}:1" if ratio > 1 else f"1:{whole}"
    message = f"This server paints shapes up to {limit:g}:1 and 1:{limit:g}; {aspect} is longer."
    raise _refuse(parsed, "ar", message, meant)


def fit(aspect: Aspect, model: ModelInfo, *, max_pixels: int) -> tuple[int, int]:
    """Return the width and height nearest to shape and native area, in the model's multiples.

    Both errors count alike, as logarithms: a tenth too wide is as bad as a tenth too large.
    """
    unit, area = model.size_multiple, model.native_width * model.native_height
    area = min(area, max_pixels)
    ratio = aspect.width / aspect.height
    ideal = math.sqrt(area * ratio)
    best, best_error = (unit, unit), math.inf
    for width in _multiples_near(ideal, unit):
        for height in _multiples_near(ideal / ratio, unit):
            if width * height > max_pixels:
                continue
            shape, size = math.log(width / height / ratio), math.log(width * height / area)
            error = abs(shape) + abs(size)
            if error < best_error - 1e-9:
                best, best_error = (width, height), error
    return best


def _multiples_near(length: float, unit: int) -> tuple[int, ...]:
    below = math.floor(length / unit)
    return tuple(unit * count for count in (below - 1, below, below + 1) if count >= 1) or (unit,)


def _refuse(parsed: ParsedPrompt, flag: str, message: str, meant: str | None) -> PromptError:
    """Make the error for a flag's value; the mended text has the value meant, or no such flag."""
    span = parsed.spans.get(flag)
    if span is None:
        return PromptError(message, text=parsed.text, start=0, end=len(parsed.text))
    if meant is None:
        mended = splice(parsed.text, span.flag, span.end, "")
    else:
        mended = splice(parsed.text, span.start, span.end, meant)
    return PromptError(message, text=parsed.text, start=span.start, end=span.end, suggestion=mended)


def to_text(params: Params, model: ModelInfo) -> str:
    """Write parameters as a prompt that gives them again: what Info offers to copy."""
    parts = [params.prompt]
    if (params.width, params.height) != (model.native_width, model.native_height):
        divisor = math.gcd(params.width, params.height)
        parts.append(f"--ar {params.width // divisor}:{params.height // divisor}")
    if params.negative_prompt:
        parts.append(f"--no {params.negative_prompt}")
    parts += [
        f"--seed {params.seed}",
        f"--steps {params.steps}",
        f"--cfg {params.guidance_scale:.12g}",
        f"--sampler {params.sampler}",
        f"--schedule {params.schedule}",
    ]
    if params.stop != 100:
        parts.append(f"--stop {params.stop}")
    if params.tile:
        parts.append("--tile")
    parts.append(f"--model {params.model}")
    return " ".join(parts)
