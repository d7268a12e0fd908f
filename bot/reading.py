"""From what somebody typed to runs: their options, suffix and settings put in, then the grammar.

Promises that what is kept of a person (`/prefer`, `/settings`) is read once for each prompt, that a
prompt which stands for several becomes all of them or none, and that every refusal is a PromptError
or a `Refusal`. Files and folders are read in threads. Enqueues nothing and answers nobody.
"""

import asyncio
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from bot import addon_names, jobs, limits, roles, texts_prompting
from bot.answers import asked
from bot.config import Config
from bot.image_prompt import shaped
from bot.preferences import Name, Origin, Preferred, preferred
from bot.prompt import Lists, PromptError, expand, expand_macros, parse, with_flags
from bot.resolve import Options, Run, Settings, resolve_runs
from bot.services import Interaction, services_of
from bot.wildcards import load_wildcards
from storage import NewJob, StorageError

# Names of word lists stand between two underscores each.
_LIST_SIGN: Final = "__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """One prompt as it came in: the text, the command's options, and the first interaction's id.

    `image` is the hash of a kept picture. It is what a note holds, as JSON.
    """

    text: str
    model: str | None = None
    preset: str | None = None
    image: str | None = None
    interaction_id: int = 0

    def to_json(self) -> str:
        """Write it for a note."""
        return json.dumps(asdict(self), sort_keys=True)


def typed_from(payload: str) -> Typed | None:
    """Read what `to_json` wrote; None for anything else."""
    try:
        found = json.loads(payload)
    except ValueError:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("text"), str):
        return None
    number = found.get("interaction_id")
    return Typed(
        text=found["text"],
        model=_optional(found, "model"),
        preset=_optional(found, "preset"),
        image=_optional(found, "image"),
        interaction_id=number if isinstance(number, int) else 0,
    )


def _optional(found: Mapping[str, Any], key: str) -> str | None:
    value = found.get(key)
    return value if isinstance(value, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a text asks for: its prompts, and the runs of all of them."""

    prompts: tuple[str, ...]
    runs: tuple[Run, ...]

    @property
    def is_several(self) -> bool:
        """Whether braces made several prompts of it."""
        return len(self.prompts) > 1


async def read_plan(interaction: Interaction, typed: Typed) -> Plan | limits.Refusal:
    """Return everything a prompt asks for; PromptError when it cannot be read."""
    services = services_of(interaction)
    config = roles.settings_of(interaction, services.settings())
    refusal = limits.check_length(typed.text, config.limits)
    if refusal is not None:
        return refusal
    own = await preferred(
        services.store,
        config,
        services.models,
        user_id=interaction.user.id,
        channel_id=interaction.channel_id,
        guild_id=interaction.guild_id,
    )
    whole = await _whole(interaction, typed, str(own[Name.SUFFIX] or ""))
    prompts = expand(whole)
    refusal = limits.check_length(max(prompts, key=len), config.limits) or check_count(
        len(prompts), config
    )
    if refusal is not None:
        return refusal
    lists = await _lists(whole, config)
    options = Options(
        model=typed.model, preset=typed.preset, image=typed.image, settings=settings_from(own)
    )
    runs: list[Run] = []
    try:
        for prompt in prompts:
            runs += resolve_runs(
                parse(prompt),
                models=services.models,
                config=config,
                seed=secrets.randbits(32),
                options=options,
                lists=lists,
            )
        await _check_names(runs, config)
    except PromptError as error:
        if len(prompts) == 1:
            raise
        # Mended, it would be one of several prompts, and the others would be lost.
        raise PromptError(
            error.message, text=error.text, start=error.start, end=error.end
        ) from error
    return Plan(prompts=prompts, runs=tuple(runs))


def check_count(prompts: int, config: Config) -> limits.Refusal | None:
    """Refuse more prompts in one than somebody may ask for."""
    most = config.limits.max_permutations
    if prompts <= most:
        return None
    told = texts_prompting.too_many_prompts(prompts=prompts, limit=most)
    return limits.Refusal(code=limits.RefusalCode.TOO_MANY_REPEATS, text=told)


def settings_from(own: Preferred) -> Settings:
    """Return what somebody set, where it was somebody and not the configuration."""

    def said(name: Name) -> Any:  # noqa: ANN401 - values are of many types
        chosen = own.chosen[name]
        return None if chosen.origin is Origin.CONFIG else chosen.value

    quality = said(Name.QUALITY)
    return Settings(
        model=said(Name.MODEL),
        quality=None if quality is None else float(quality),
        stylize=said(Name.STYLIZE),
        share=said(Name.SPEED),
        raw=said(Name.RAW),
        private=bool(own[Name.PRIVATE]),
    )


async def news_of(interaction: Interaction, plan: Plan, typed: Typed) -> list[NewJob]:
    """Return the jobs of a plan; StorageError when its picture is gone."""
    who = asked(interaction)
    if typed.interaction_id:
        # A question that is answered twice makes its jobs once.
        who = replace(who, interaction_id=typed.interaction_id)
    runs = plan.runs if typed.image is None else await _with_picture(interaction, plan.runs)
    return [
        jobs.imagine_job(run.params, who, prompt=run.text, repeat_index=number, details=run.details)
        for number, run in enumerate(runs)
    ]


async def _whole(interaction: Interaction, typed: Typed, suffix: str) -> str:
    """Put a person's own options and suffix into what they typed."""
    macros = await services_of(interaction).store.people.macros(interaction.user.id)
    text = expand_macros(typed.text, macros)
    if not suffix:
        return text
    options = {"model": typed.model, "preset": typed.preset}
    besides = [name for name, value in options.items() if value is not None]
    return with_flags(text, expand_macros(suffix, macros), besides=besides)


async def _lists(text: str, config: Config) -> Lists:
    if _LIST_SIGN not in text or config.defaults.wildcards is None:
        return {}
    return await asyncio.to_thread(load_wildcards, config.defaults.wildcards)


async def _check_names(runs: Sequence[Run], config: Config) -> None:
    for run in runs:
        if addon_names.names_any(run.text):
            alias = run.params.model
            if alias in config.models:
                await asyncio.to_thread(addon_names.check_addons, run.text, config, alias)


async def _with_picture(interaction: Interaction, runs: Sequence[Run]) -> list[Run]:
    """Let every run start from the picture in its own shape."""
    store = services_of(interaction).store
    shapes: dict[tuple[str, int, int], str] = {}
    found = []
    for run in runs:
        params = run.params
        if params.init_image is None:
            raise StorageError("a run of a picture has none")
        key = params.init_image, params.width, params.height
        if key not in shapes:
            shapes[key] = await shaped(store, *key)
        found.append(replace(run, params=replace(params, init_image=shapes[key])))
    return found
