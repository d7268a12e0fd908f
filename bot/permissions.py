"""Who may do what to a job: one pure function, so that every case can be tested.

Promises that only ids and the permissions of the interaction itself decide, never names or roles.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal


class Action(StrEnum):
    """What a button (or a command) does to a job; the value is part of the custom_id for ever."""

    UPSCALE = "upscale"
    VARY = "vary"
    REROLL = "reroll"
    INFO = "info"
    CANCEL = "cancel"
    DELETE = "delete"
    DELETE_SURE = "yes"
    SHOW = "show"
    SUBTLE_2X = "up2s"
    CREATIVE_2X = "up2c"
    UP_4X = "up4"
    VARY_SUBTLE = "vsub"
    VARY_STRONG = "vstr"
    REGION = "region"
    ZOOM_15 = "zoom15"
    ZOOM_2 = "zoom2"
    ZOOM_CUSTOM = "zoomc"
    LEFT = "panl"
    RIGHT = "panr"
    UP = "panu"
    DOWN = "pand"
    SQUARE = "square"
    REMIX = "remix"
    CONTINUE = "go"
    KEEP = "keep"
    FAVOURITE = "fav"
    REPORT = "report"


class Verdict(StrEnum):
    """The answer, and why not."""

    YES = "yes"
    FOREIGN = "foreign"
    NOT_YOURS = "not_yours"


OWNERS_ONLY: Final = frozenset({Action.CANCEL, Action.KEEP, Action.DELETE, Action.DELETE_SURE})
# What makes a new job, which the presser pays for.
PAINTING: Final = frozenset(
    {
        Action.UPSCALE,
        Action.VARY,
        Action.REROLL,
        Action.SUBTLE_2X,
        Action.CREATIVE_2X,
        Action.UP_4X,
        Action.VARY_SUBTLE,
        Action.VARY_STRONG,
        Action.REGION,
        Action.ZOOM_15,
        Action.ZOOM_2,
        Action.ZOOM_CUSTOM,
        Action.LEFT,
        Action.RIGHT,
        Action.UP,
        Action.DOWN,
        Action.SQUARE,
        Action.REMIX,
        Action.CONTINUE,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who asks, and where. `guild_id` is None in direct messages."""

    user_id: int
    guild_id: int | None
    manage_messages: bool


def judge(
    action: Action,
    actor: Actor,
    *,
    requester_id: int,
    guild_id: int | None,
    press: Literal["anyone", "requester"],
) -> Verdict:
    """Say whether the actor may do this to a job of that requester in that guild."""
    if actor.user_id == requester_id:
        return Verdict.YES
    if guild_id is None or actor.guild_id != guild_id:
        # Of a job in another guild, or in somebody's direct messages, nobody else learns anything.
        return Verdict.FOREIGN
    if action in OWNERS_ONLY:
        return Verdict.YES if actor.manage_messages else Verdict.NOT_YOURS
    if action in PAINTING and press == "requester":
        return Verdict.NOT_YOURS
    return Verdict.YES
