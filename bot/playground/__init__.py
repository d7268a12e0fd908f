"""A loopback Discord, honest enough to trust: HTTP API, gateway, CDN, people, and a page.

Promises a real server on 127.0.0.1 that unmodified discord.py connects to. Never reachable from
another machine, never a fake success: what it does not know is a loud 501.
"""

from bot.playground.aim import aim
from bot.playground.faults import Fault, FaultKind, Faults
from bot.playground.guilds import Channel, Guild, Role
from bot.playground.ledger import (
    InteractionState,
    Ledger,
    MessageRecord,
    PlayInteraction,
    RequestRecord,
)
from bot.playground.options import PlayError
from bot.playground.people import Person
from bot.playground.permissions import Permission
from bot.playground.ratelimits import RateLimits
from bot.playground.server import Playground
from bot.playground.wire import Clock, Json, ManualClock

__all__ = [
    "Channel",
    "Clock",
    "Fault",
    "FaultKind",
    "Faults",
    "Guild",
    "InteractionState",
    "Json",
    "Ledger",
    "ManualClock",
    "MessageRecord",
    "Permission",
    "Person",
    "PlayError",
    "PlayInteraction",
    "Playground",
    "RateLimits",
    "RequestRecord",
    "Role",
    "aim",
]
