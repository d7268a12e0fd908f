"""Everything a command or a button may use, in one place, made once by the app."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

import discord

from bot.arrivals import Arrivals
from bot.config import Config
from bot.engine_port import EnginePort
from bot.halts import Halts
from bot.health import LagMeter, Metrics
from bot.poster import Poster
from bot.presses.repeated import Repeated
from bot.queue import FairQueue
from bot.removing import Remover
from bot.talk import Talk
from bot.worker import Worker
from diffusion import ModelInfo
from storage import Store

if TYPE_CHECKING:
    from bot.intake import Intake

Interaction = discord.Interaction[Any]


@dataclass(slots=True, kw_only=True, eq=False)
class Services:
    """What the app is made of."""

    settings: Callable[[], Config]
    store: Store
    engine: EnginePort
    models: Mapping[str, ModelInfo]
    queue: FairQueue
    talk: Talk
    poster: Poster
    worker: Worker
    intake: "Intake"
    halts: Halts
    metrics: Metrics
    lag: LagMeter
    # Reads config.toml again and returns what changed; None where there is no such file.
    reload: "Callable[[], Awaitable[Sequence[str]]] | None" = None
    # Held while somebody has a picture painted again to compare it: one at a time.
    repainting: asyncio.Lock = field(default_factory=asyncio.Lock)
    started: float = field(default_factory=time.monotonic)
    remover: Remover = field(init=False)
    # Which interactions Discord sent twice, and which presses were made twice.
    arrivals: Arrivals = field(default_factory=Arrivals)
    repeated: Repeated = field(default_factory=Repeated)

    def __post_init__(self) -> None:
        """Make what works with all of the others."""
        self.remover = Remover(self)


class HasServices(Protocol):
    """A client that knows the app's parts."""

    services: Services


def services_of(interaction: Interaction) -> Services:
    """Return the parts of the app that an interaction reached."""
    return cast("HasServices", interaction.client).services
