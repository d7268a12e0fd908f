"""What one person may ask for: the settings, changed by the roles they have and by their quota.

Promises that roles count by their ids, as the interaction itself names them, never by their names;
that of several roles the most generous counts; and that a day's seconds are those of the device,
measured, with what is still waiting counted by its estimate.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import discord

from bot.config import Config
from bot.config_models import RoleLimits
from bot.jobs import details_of
from storage import Job, JobState, NewJob, Store

if TYPE_CHECKING:
    from bot.services import Interaction

_OF_QUEUE: Final = ("max_waiting_user", "max_running_user")
# What the device worked is written down with the pictures.
_UNMEASURED: Final = frozenset({JobState.QUEUED, JobState.RUNNING})
# Zero means "no end" in these.
_ENDLESS: Final = frozenset({"max_running_user", "seconds_per_day"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What somebody used of the device today, and how much they may; `limit` None is no end."""

    used: float
    limit: float | None
    resets: datetime

    @property
    def is_used_up(self) -> bool:
        """Whether nothing is left for today."""
        return self.limit is not None and self.used >= self.limit


def roles_of(interaction: "Interaction", config: Config) -> tuple[int, ...]:
    """Return the ids of the asker's roles that the settings speak of."""
    member = interaction.user
    if not isinstance(member, discord.Member):
        return ()
    named = (int(role_id) for role_id in config.limits.roles)
    return tuple(sorted(each for each in named if member.get_role(each) is not None))


def roles_in(job: NewJob) -> tuple[int, ...]:
    """Return the roles that a job was asked with."""
    found = details_of(job).get("roles")
    if not isinstance(found, list):
        return ()
    return tuple(each for each in found if isinstance(each, int))


def settings_for(config: Config, roles: Iterable[int]) -> Config:
    """Return the settings as they are for somebody with these roles."""
    known = _sections(config, roles)
    if not known:
        return config
    of_limits: dict[str, Any] = {}
    of_queue: dict[str, Any] = {}
    for name in RoleLimits.model_fields:
        given = [value for one in known if (value := getattr(one, name)) is not None]
        if given and name != "models":
            target = of_queue if name in _OF_QUEUE else of_limits
            target[name] = _most(name, given)
    return config.model_copy(
        update={
            "limits": config.limits.model_copy(update=of_limits),
            "queue": config.queue.model_copy(update=of_queue),
        }
    )


def settings_of(interaction: "Interaction", config: Config) -> Config:
    """Return the settings as they are for who asks."""
    return settings_for(config, roles_of(interaction, config))


def models_for(config: Config, roles: Iterable[int]) -> frozenset[str] | None:
    """Return the models that somebody with these roles may use; None is all of them."""
    lists = [one.models for one in _sections(config, roles) if one.models is not None]
    return frozenset(name for each in lists for name in each) if lists else None


async def quota_of(
    store: Store,
    cost: Callable[[Job], float],
    settings: Config,
    *,
    user_id: int,
    guild_id: int | None,
    now: datetime | None = None,
) -> Quota:
    """Return what somebody has used today of what they may; `settings` are the person's own.

    Jobs under way count by `cost`, the seconds they are estimated to take.
    """
    moment = now or datetime.now(UTC)
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    used = await store.community.device_seconds(user_id, since=midnight, guild_id=guild_id)
    own = await store.community.quota_of(guild_id, user_id)
    limit = own if own is not None else settings.limits.seconds_per_day or None
    if limit is not None:
        mine = await store.active(user_id)
        used += sum(
            cost(job)
            for job in mine
            if job.state in _UNMEASURED and guild_id in (None, job.guild_id)
        )
    return Quota(used=used, limit=limit, resets=midnight + timedelta(days=1))


def _sections(config: Config, roles: Iterable[int]) -> list[RoleLimits]:
    found = (config.limits.roles.get(str(role_id)) for role_id in roles)
    return [one for one in found if one is not None]


def _most(name: str, given: Collection[float]) -> float:
    return 0 if name in _ENDLESS and 0 in given else max(given)
