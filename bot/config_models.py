"""The settings, as types: every section, key, range and default of config.toml.

Promises that a `Config` is complete, checked and immutable. Reads no file and no environment;
`bot.config` does. What changes only with a restart is marked `Restart`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
)

import diffusion
from bot.patterns import check_pattern
from bot.preset_checks import check_preset_flags, check_style, check_template

SHIPPED_MODEL: Final = "emoji"
_ALIAS: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_PICKLES: Final = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})


class Restart:
    """Marks a setting that a running bot cannot change."""


class Section(BaseModel):
    """What all sections share: no unknown keys, no conversions, no changes."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True
    )


def _under_folder(value: Path | None, info: ValidationInfo) -> Path | None:
    """Read a relative path from the folder of config.toml, wherever the bot was started."""
    context: Any = info.context
    if value is None or not isinstance(context, Mapping):
        return value
    return Path(context["folder"]) / value


def _path(value: object) -> object:
    if isinstance(value, str):
        if not value or "\0" in value:
            raise ValueError("must be a path")
        return Path(value).expanduser() if value.startswith("~/") else Path(value)
    return value


def _optional_path(value: object) -> object:
    return None if value == "" else _path(value)


def _model_path(value: str, info: ValidationInfo) -> str:
    if not value or "\0" in value:
        raise ValueError('must be "emoji", a folder or a .safetensors file')
    if Path(value).suffix.lower() in _PICKLES:
        raise ValueError(
            "names a pickle file, which can run code when it is opened and so never is: "
            "use the model's .safetensors file"
        )
    if value == SHIPPED_MODEL:
        return value
    return str(_under_folder(Path(value).expanduser() if value[:2] == "~/" else Path(value), info))


def _word(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value


def _one_of_or_own(names: tuple[str, ...]) -> AfterValidator:
    """Accept one of the names, or "" for the model's own."""

    def check(value: str) -> str:
        if value and value not in names:
            raise ValueError(f'must be "" (the model\'s own) or one of {", ".join(names)}')
        return value

    return AfterValidator(check)


def _off_or_more(value: float) -> float:
    if 0 < value < 1:
        raise ValueError("must be 0 (the model's own) or from 1 to 100")
    return value


Folder = Annotated[Path, BeforeValidator(_path), AfterValidator(_under_folder)]
OptionalFile = Annotated[
    Path | None, BeforeValidator(_optional_path), AfterValidator(_under_folder)
]


def _alias(value: str) -> str:
    if not _ALIAS.fullmatch(value):
        raise ValueError(
            "is no name: use 1 to 32 small letters, digits, dots, dashes and "
            "underscores, beginning with a letter or digit"
        )
    return value


Alias = Annotated[str, AfterValidator(_alias)]
Names = Annotated[tuple[Alias, ...], Field(strict=False)]
Snowflake = Annotated[int, Field(gt=0, lt=2**63)]
Words = Annotated[tuple[Annotated[str, AfterValidator(_word)], ...], Field(strict=False)]
Snowflakes = Annotated[tuple[Snowflake, ...], Field(strict=False)]
Patterns = Annotated[tuple[Annotated[str, AfterValidator(check_pattern)], ...], Field(strict=False)]


def _id_key(value: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,18}", value, re.ASCII) or int(value) >= 2**63:
        raise ValueError("must be named by an id, the long number that Discord's menus copy")
    return value


# TOML's keys are texts, also those that are numbers.
IdKey = Annotated[str, AfterValidator(_id_key)]


class DiscordConfig(Section):
    """[discord]: how the bot meets Discord."""

    token_file: Annotated[OptionalFile, Restart()] = None
    guilds: Annotated[Snowflakes, Restart()] = ()
    status: Annotated[str, Field(max_length=128)] = "{model} · {waiting} waiting"


class EngineConfig(Section):
    """[engine]: the device and how it is shared."""

    device: Annotated[Literal["auto", "cpu", "cuda"], Restart()] = "auto"
    dtype: Annotated[Literal["auto", "float32", "float16", "bfloat16"], Restart()] = "auto"
    max_batch: Annotated[int, Field(ge=1, le=256), Restart()] = 16
    threads: Annotated[int, Field(ge=0, le=256), Restart()] = 0
    deterministic: Annotated[Literal["strict", "fast"], Restart()] = "strict"
    memory_gib: Annotated[float, Field(ge=0, le=4096, allow_inf_nan=False), Restart()] = 0.0


class ModelConfig(Section):
    """[models.<alias>]: one model people can name."""

    path: Annotated[str, AfterValidator(_model_path), Restart()]
    prediction: Annotated[Literal["", "epsilon", "v_prediction", "sample"], Restart()] = ""
    vae: Annotated[OptionalFile, Restart()] = None
    preview: Annotated[OptionalFile, Restart()] = None
    loras: Annotated[OptionalFile, Restart()] = None
    controls: Annotated[OptionalFile, Restart()] = None
    embeddings: Annotated[OptionalFile, Restart()] = None
    names: Names = ()


class DefaultsConfig(Section):
    """[defaults]: what a prompt without flags gets."""

    model: str = SHIPPED_MODEL
    images: Annotated[int, Field(ge=1, le=4)] = 4
    steps: Annotated[int, Field(ge=0, le=1000)] = 0
    guidance_scale: Annotated[float, Field(ge=0, le=100), AfterValidator(_off_or_more)] = 0.0
    sampler: Annotated[str, _one_of_or_own(diffusion.SAMPLERS)] = ""
    schedule: Annotated[str, _one_of_or_own(diffusion.SCHEDULES)] = ""
    stylize: Annotated[int, Field(ge=0, le=1000)] = 100
    house_style: Annotated[str, Field(max_length=1000), AfterValidator(check_style)] = ""
    wildcards: OptionalFile = None


class PresetConfig(Section):
    """[presets.<name>]: one style template that people can name."""

    prompt: Annotated[str, Field(max_length=2000), AfterValidator(check_template)]
    negative: Annotated[str, Field(max_length=2000), AfterValidator(check_style)] = ""
    flags: Annotated[str, Field(max_length=500), AfterValidator(check_preset_flags)] = ""
    about: Annotated[str, Field(max_length=100)] = ""


SHIPPED_PRESETS: Final = MappingProxyType(
    {
        "sticker": PresetConfig(
            prompt="{prompt}, sticker with a thick white outline",
            negative="shadow, frame",
            about="A sticker",
        )
    }
)
# Sections that stand once for each name.
NAMED_SECTIONS: Final[Mapping[str, type[Section]]] = MappingProxyType(
    {"models": ModelConfig, "presets": PresetConfig}
)


class QueueConfig(Section):
    """[queue]: how much waits, and who is next."""

    max_waiting: Annotated[int, Field(ge=1, le=100_000)] = 100
    max_waiting_user: Annotated[int, Field(ge=1, le=1000)] = 5
    max_running: Annotated[int, Field(ge=1, le=256)] = 4
    max_running_user: Annotated[int, Field(ge=0, le=256)] = 0
    order: Literal["fair", "arrival"] = "fair"


class RoleLimits(Section):
    """[limits.roles.<id>]: what members of a role may ask for; what is left out is as for all."""

    max_steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    max_pixels: Annotated[int, Field(ge=64, le=8192 * 8192)] | None = None
    max_repeat: Annotated[int, Field(ge=1, le=10)] | None = None
    max_permutations: Annotated[int, Field(ge=1, le=100)] | None = None
    max_waiting_user: Annotated[int, Field(ge=1, le=1000)] | None = None
    max_running_user: Annotated[int, Field(ge=0, le=256)] | None = None
    seconds_per_day: Annotated[float, Field(ge=0, le=86_400)] | None = None
    models: Words | None = None


class LimitsConfig(Section):
    """[limits]: what one prompt may ask for."""

    max_prompt: Annotated[int, Field(ge=1, le=6000)] = 4000
    max_steps: Annotated[int, Field(ge=1, le=1000)] = 150
    max_pixels: Annotated[int, Field(ge=64, le=8192 * 8192)] = 1_572_864
    max_aspect: Annotated[float, Field(ge=1, le=100)] = 4.0
    max_repeat: Annotated[int, Field(ge=1, le=10)] = 4
    max_permutations: Annotated[int, Field(ge=1, le=100)] = 10
    seconds_per_day: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    roles: Mapping[IdKey, RoleLimits] = Field(default_factory=dict)


class PlaceWords(Section):
    """[moderation.guilds.<id>], [moderation.channels.<id>]: what is not written there as well."""

    blocked_words: Words = ()
    blocked_patterns: Patterns = ()


class ModerationConfig(Section):
    """[moderation]: what is refused, who may press what, and who keeps order."""

    blocked_words: Words = ()
    blocked_patterns: Patterns = ()
    press: Literal["anyone", "requester"] = "anyone"
    unsafe: Literal["block", "spoiler", "restricted", "allow"] = "block"
    admins: Snowflakes = ()
    report_channel: Annotated[int, Field(ge=0, lt=2**63)] = 0
    guilds: Mapping[IdKey, PlaceWords] = Field(default_factory=dict)
    channels: Mapping[IdKey, PlaceWords] = Field(default_factory=dict)


class UpscaleConfig(Section):
    """[upscale]: what "Upscale" enlarges finished pictures with."""

    path: OptionalFile = None


class StorageConfig(Section):
    """[storage]: where jobs and pictures are kept."""

    folder: Annotated[Folder, Restart()] = Path("data")
    min_free_gib: Annotated[float, Field(ge=0, le=100_000)] = 1.0
    keep_days: Annotated[float, Field(ge=0, le=36_500)] = 90.0
    backup_hours: Annotated[float, Field(ge=0, le=24)] = 1.0
    backup_keep: Annotated[int, Field(ge=1, le=1000)] = 24
    backup_folder: OptionalFile = None


class DeliveryConfig(Section):
    """[delivery]: how results and progress are shown."""

    edit_seconds: Annotated[float, Field(ge=1, le=60)] = 2.5
    preview: bool = True
    mention_requester: bool = True


class MonitoringConfig(Section):
    """[monitoring]: what an admin sees."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Annotated[Literal["plain", "json"], Restart()] = "plain"
    lag_warn_ms: Annotated[int, Field(ge=1, le=60_000)] = 250
    port: Annotated[int, Field(ge=0, le=65_535), Restart()] = 0


class Config(Section):
    """All settings. A new file makes a new Config; this one never changes."""

    discord: DiscordConfig = Field(default_factory=DiscordConfig)
    engine: EngineConfig = Field(default_factory=EngineConfig)
    models: Annotated[Mapping[Alias, ModelConfig], Field(min_length=1), Restart()] = Field(
        default_factory=lambda: {SHIPPED_MODEL: ModelConfig(path=SHIPPED_MODEL)}
    )
    presets: Mapping[Alias, PresetConfig] = Field(default_factory=lambda: dict(SHIPPED_PRESETS))
    defaults: DefaultsConfig = Field(default_factory=DefaultsConfig)
    queue: QueueConfig = Field(default_factory=QueueConfig)
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    moderation: ModerationConfig = Field(default_factory=ModerationConfig)
    upscale: UpscaleConfig = Field(default_factory=UpscaleConfig)
    storage: StorageConfig = Field(default_factory=StorageConfig)
    delivery: DeliveryConfig = Field(default_factory=DeliveryConfig)
    monitoring: MonitoringConfig = Field(default_factory=MonitoringConfig)
