"""What a prompt says, before any model or configuration is known.

A `ParsedPrompt` holds exactly what was typed; a flag that was not typed is None (or False), so
that options, settings and the configuration can fill it. It never holds a default.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Aspect:
    """A shape, as two whole numbers."""

    width: int
    height: int

    def __str__(self) -> str:
        """Write it as a person types it."""
        return f"{self.width}:{self.height}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where a flag stands in the text: `flag` is where it begins, then its value's two ends."""

    flag: int
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedPrompt:
    """The words and the flags of one prompt; `spans` says where each flag's value stands.

    `prompt` and `negative_prompt` are as typed, braces and names of word lists included; `words`
    is where the text's words end. `share` is one of `SHARES`; `raw` is `--raw` or `--style raw`,
    every other `--style` a `preset`; `model` is `niji` for a bare `--niji`.
    """

    text: str
    prompt: str
    words: int = field(default=0, compare=False)
    negative_prompt: str | None = None
    aspect: Aspect | None = None
    seed: int | None = None
    sameseed: bool = False
    chaos: int | None = None
    stylize: int | None = None
    raw: bool = False
    preset: str | None = None
    quality: float | None = None
    stop: int | None = None
    iw: float | None = None
    strength: float | None = None
    sref: str | None = None
    sw: int | None = None
    cref: str | None = None
    cw: int | None = None
    tile: bool = False
    repeat: int | None = None
    model: str | None = None
    hires: float | None = None
    share: str | None = None
    video: bool = False
    weird: int | None = None
    sampler: str | None = None
    schedule: str | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    clip: int | None = None
    vae: str | None = None
    spans: Mapping[str, Span] = field(default_factory=dict, compare=False, hash=False)
