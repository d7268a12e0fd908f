"""From what was typed to what will be painted: flags, options, settings, then the configuration.

Promises that the same prompt, options, configuration, word lists and seed give the same `Params`,
complete in every field, so that a later edit of the configuration changes no job that waits. The
pictures keep the model's own area in whatever shape was asked for. Draws no random number: the seed
is given. Nothing is ignored: a flag that this server or model cannot honour is a `PromptError`.

Who wins: flags > options of the command > flags of the style template > settings of the person,
their channel, their server > the configuration. Flags of a suffix are flags by then.

Seeds of `--repeat`: run k of a prompt with n pictures a grid starts at seed + k·n (modulo 2³²),
whether the seed was typed or drawn. So no two pictures of the group are the same, each run can be
made again alone by its own seed, and the whole group again by the first one's. Wildcards are drawn
from each run's own seed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bot.config_models import Config, PresetConfig
from bot.language import tr
from bot.prompt import Aspect, Lists, ParsedPrompt, escaped, parse, with_flags
from bot.prompt.mend import clip, nearest
from bot.prompt.printing import words_text
from bot.refusals import refuse
from bot.sizes import fit
from bot.unfit import check_abilities, check_picture
from bot.words import Drawn, drawn, finished
from diffusion import ModelInfo, Params

__all__ = ["Options", "Run", "Settings", "fit", "resolve", "resolve_runs", "to_text"]

_SEEDS: Final = 2**32
DRAFT_STEPS: Final = 0.5
# One device has no faster lane, so both are the same class.
_SHARES: Final[Mapping[str, str]] = {"turbo": "fast"}
USUAL_SHARE: Final = "fast"
USUAL_STRENGTH: Final = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What person, channel and server have set for every prompt; None is not set."""

    model: str | None = None
    quality: float | None = None
    stylize: int | None = None
    share: str | None = None
    raw: bool | None = None
    private: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is not in the text: the command's own options, then the settings below them.

    `image` is the SHA-256 of a kept picture to start from.
    """

    model: str | None = None
    preset: str | None = None
    image: str | None = None
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One job to be: its params, the prompt as it is shown, and what the bot needs besides."""

    params: Params
    text: str
    details: Mapping[str, Any]


def resolve(
    parsed: ParsedPrompt,
    *,
    models: Mapping[str, ModelInfo],
    config: Config,
    seed: int,
    options: Options | None = None,
) -> tuple[Params, ...]:
    """Return the parameters of every run; raise PromptError where flag and server disagree."""
    runs = resolve_runs(parsed, models=models, config=config, seed=seed, options=options)
    return tuple(run.params for run in runs)


def resolve_runs(
    parsed: ParsedPrompt,
    *,
    models: Mapping[str, ModelInfo],
    config: Config,
    seed: int,
    options: Options | None = None,
    lists: Lists | None = None,
) -> tuple[Run, ...]:
    """Return every run of a prompt; `lists` are the word lists it may draw from."""
    options = options or Options()
    name = parsed.preset or options.preset
    preset = _preset(parsed, name, config)
    typed = parsed.text
    if preset is not None and preset.flags:
        parsed = _with_preset_flags(parsed, preset, options)
    alias = _model(parsed, models, config, options)
    check_abilities(parsed, alias)
    check_picture(parsed, has_picture=options.image is not None)
    desk = _Desk(parsed, preset, config, options, alias, models[alias])
    first = seed if parsed.seed is None else parsed.seed
    count = config.defaults.images
    seeds = [(first + run * count) % _SEEDS for run in range(_repeat(parsed, config))]
    return tuple(desk.run(each, lists or {}, typed) for each in seeds)


@dataclass(frozen=True, slots=True)
class _Desk:
    """One prompt with everything that decides about it."""

    parsed: ParsedPrompt
    preset: PresetConfig | None
    config: Config
    options: Options
    alias: str
    model: ModelInfo

    def run(self, seed: int, lists: Lists, typed: str) -> Run:
        """Decide everything about one run."""
        words = drawn(self.parsed, seed, lists)
        details = self._details()
        if words.text != typed:
            details["typed"] = typed
        return Run(params=self._params(words, seed), text=words.text, details=details)

    def _params(self, words: Drawn, seed: int) -> Params:
        parsed, defaults, own = self.parsed, self.config.defaults, self.model.defaults
        width, height = _size(parsed, self.model, self.config)
        prompt, negative = finished(
            parsed, words, self.preset, self.config.defaults.house_style, self._stylize()
        )
        return Params(
            prompt=prompt,
            negative_prompt=negative,
            seed=seed,
            steps=self._steps(),
            guidance_scale=parsed.guidance_scale or defaults.guidance_scale or own.guidance_scale,
            sampler=parsed.sampler or defaults.sampler or own.sampler,
            schedule=parsed.schedule or defaults.schedule or own.schedule,
            width=width,
            height=height,
            images=defaults.images,
            model=self.alias,
            stop=100 if parsed.stop is None else parsed.stop,
            tile=parsed.tile,
            init_image=self.options.image,
            strength=_strength(parsed),
            clip_skip=0 if parsed.clip is None else parsed.clip - 1,
            hires=self._hires(width, height),
            chaos=parsed.chaos or 0,
            same_seed=parsed.sameseed,
        )

    @property
    def _share(self) -> str:
        share = self.parsed.share or self.options.settings.share or USUAL_SHARE
        return _SHARES.get(share, share)

    def _quality(self) -> float:
        """Return what multiplies the steps; steps that were typed are multiplied by flags alone."""
        if self.parsed.quality is not None:
            return self.parsed.quality
        if self.parsed.steps is not None or self.options.settings.quality is None:
            return 1.0
        return self.options.settings.quality

    def _stylize(self) -> int:
        if self.parsed.stylize is not None:
            return self.parsed.stylize
        settings = self.options.settings
        if self.parsed.raw or settings.raw:
            return 0
        return self.config.defaults.stylize if settings.stylize is None else settings.stylize

    def _steps(self) -> int:
        """Multiply the steps by the quality, round half up, and refuse more than the limit."""
        parsed, limit = self.parsed, self.config.limits.max_steps
        base = float(parsed.steps or self.config.defaults.steps or self.model.defaults.steps)
        if self._share == "draft" and parsed.steps is None:
            base *= DRAFT_STEPS
        quality = self._quality()
        steps = max(1, math.floor(base * quality + 0.5))
        if steps <= limit:
            return steps
        message = tr(
            "This server allows at most {limit} steps; this prompt asks for {steps}.",
            limit=limit,
            steps=steps,
        )
        if parsed.steps is not None:
            raise refuse(parsed, "steps", message, str(max(1, math.floor(limit / quality))))
        raise refuse(parsed, "quality", message, None)

    def _hires(self, width: int, height: int) -> float:
        factor, limit = self.parsed.hires or 1.0, self.config.limits.max_pixels
        if factor == 1.0 or width * height * factor**2 <= limit:
            return factor
        most = math.floor(math.sqrt(limit / (width * height)) * 100) / 100
        message = tr(
            "The second pass would have {pixels:,} pixels; {limit:,} are the most here.",
            pixels=round(width * height * factor**2),
            limit=limit,
        )
        raise refuse(self.parsed, "hires", message, f"{most:g}" if most > 1 else None)

    def _details(self) -> dict[str, Any]:
        """Return what delivery, queue and later jobs need to know; what is usual is left out."""
        parsed = self.parsed
        found: dict[str, Any] = {}
        if self._share != USUAL_SHARE:
            found["share"] = self._share
        if parsed.video:
            found["video"] = True
        if self._quality() != 1.0:
            found["quality"] = self._quality()
        if parsed.iw is not None:
            found["iw"] = parsed.iw
        if self.options.settings.private:
            found["private"] = True
        return found


def _preset(parsed: ParsedPrompt, name: str | None, config: Config) -> PresetConfig | None:
    if name is None or name in config.presets:
        return None if name is None else config.presets[name]
    known = ", ".join(sorted(config.presets))
    if not known:
        message = tr("This server has no style templates.")
    else:
        message = tr(
            "There is no style template “{name}” on this server; there are: {known}.",
            name=clip(name),
            known=known,
        )
    flag = "preset" if "preset" in parsed.spans else "style"
    raise refuse(parsed, flag, message, nearest(name, config.presets))


def _with_preset_flags(
    parsed: ParsedPrompt, preset: PresetConfig, options: Options
) -> ParsedPrompt:
    """Let a template's flags hold where neither a flag nor an option said something."""
    besides = {"model"} if options.model is not None else set()
    return parse(words_text(with_flags(parsed.text, preset.flags, besides=besides)))


def _model(
    parsed: ParsedPrompt, models: Mapping[str, ModelInfo], config: Config, options: Options
) -> str:
    asked = parsed.model or options.model
    if asked is None:
        usual = options.settings.model
        return usual if usual is not None and usual in models else config.defaults.model
    names = {name: alias for alias, one in config.models.items() for name in one.names}
    names |= {alias: alias for alias in models}
    alias = names.get(asked, "")
    if alias in models:
        return alias
    message = tr(
        "There is no model “{name}” on this server; there are: {known}.",
        name=clip(asked),
        known=", ".join(sorted(models)),
    )
    flag = "niji" if "niji" in parsed.spans else "model"
    raise refuse(parsed, flag, message, nearest(asked, models) if flag == "model" else None)


def _repeat(parsed: ParsedPrompt, config: Config) -> int:
    limit, repeat = config.limits.max_repeat, parsed.repeat or 1
    if repeat <= limit:
        return repeat
    message = tr(
        "This server allows at most {limit} runs of one prompt, not {runs}.",
        limit=limit,
        runs=repeat,
    )
    raise refuse(parsed, "repeat", message, str(limit) if limit > 1 else None)


def _strength(parsed: ParsedPrompt) -> float:
    """Return the image-to-image strength; `--iw` says the same the other way round."""
    if parsed.strength is not None:
        return parsed.strength
    return USUAL_STRENGTH if parsed.iw is None else 1 - parsed.iw / 4


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
    message = tr(
        "This server paints shapes up to {limit:g}:1 and 1:{limit:g}; {aspect} is longer.",
        limit=limit,
        aspect=aspect,
    )
    raise refuse(parsed, "ar", message, meant)


def to_text(params: Params, model: ModelInfo, config: Config | None = None) -> str:
    """Write parameters as a prompt that gives them again: what Info offers to copy.

    Where the configuration is given and has no house style, nothing needs to keep it out.
    """
    parts = [words_text(escaped(params.prompt))]
    if (params.width, params.height) != (model.native_width, model.native_height):
        divisor = math.gcd(params.width, params.height)
        parts.append(f"--ar {params.width // divisor}:{params.height // divisor}")
    if params.negative_prompt:
        parts.append(f"--no {escaped(params.negative_prompt)}")
    parts += [
        f"--seed {params.seed}",
        *(["--sameseed"] if params.same_seed else []),
        *([f"--chaos {params.chaos}"] if params.chaos else []),
        *([f"--hires {params.hires:.12g}"] if params.hires != 1.0 else []),
        *([f"--strength {params.strength:.12g}"] if params.init_image is not None else []),
        f"--steps {params.steps}",
        f"--cfg {params.guidance_scale:.12g}",
        f"--sampler {params.sampler}",
        f"--schedule {params.schedule}",
        *([f"--clip {params.clip_skip + 1}"] if params.clip_skip else []),
    ]
    if params.stop != 100:
        parts.append(f"--stop {params.stop}")
    if params.tile:
        parts.append("--tile")
    if config is None or config.defaults.house_style:
        parts.append("--style raw")
    parts.append(f"--model {params.model}")
    return " ".join(parts)
