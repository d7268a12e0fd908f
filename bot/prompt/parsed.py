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
    """The words and the flags of one prompt; `spans` says where each flag's value stands."""

    text: str
    prompt: str
    negative_prompt: str | None = None
    aspect: Aspect | None = None
    seed: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    sampler: str | None = None
    schedule: str | None = None
    quality: float | None = None
    stop: int | None = None
    tile: bool = False
    repeat: int | None = None
    model: str | None = None
    spans: Mapping[str, Span] = field(default_factory=dict, compare=False, hash=False)
