"""Roles: the most generous counts, what is left out is as for all, and a day's seconds."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.config import Config, parse_config
from bot.roles import Quota, models_for, quota_of, settings_for
from diffusion import Params
from storage import JobKind, NewJob, Store

TOML = """
[queue]
max_waiting_user = 5
max_running_user = 2
[limits]
max_steps = 50
seconds_per_day = 100
[limits.roles.1]
max_steps = 20
models = ["emoji"]
[limits.roles.2]
max_steps = 80
max_waiting_user = 9
seconds_per_day = 0
[limits.roles.3]
max_running_user = 0
models = ["big"]
"""


def config() -> Config:
    return parse_config(TOML, Path("/nowhere/config.toml"))


@pytest.mark.parametrize(
    ("roles", "steps", "waiting", "running", "seconds"),
    [
        ((), 50, 5, 2, 100.0),
        ((99,), 50, 5, 2, 100.0),
        ((1,), 20, 5, 2, 100.0),
        ((1, 2), 80, 9, 2, 0.0),
        ((2, 3), 80, 9, 0, 0.0),
    ],
)
def test_the_most_generous_role_counts(
    roles: tuple[int, ...], steps: int, waiting: int, running: int, seconds: float
) -> None:
    found = settings_for(config(), roles)
    assert found.limits.max_steps == steps
    assert found.queue.max_waiting_user == waiting
    assert found.queue.max_running_user == running
    assert found.limits.seconds_per_day == seconds
    assert found.limits.max_pixels == config().limits.max_pixels


@pytest.mark.parametrize(
    ("roles", "models"),
    [((), None), ((2,), None), ((1,), {"emoji"}), ((1, 2, 3), {"emoji", "big"})],
)
def test_lists_of_models_add_up(roles: tuple[int, ...], models: set[str] | None) -> None:
    assert models_for(config(), roles) == models


async def test_a_day_is_from_midnight_to_midnight_and_ones_own_quota_wins(tmp_path: Path) -> None:
    now = datetime(2026, 5, 4, 23, 30, tzinfo=UTC)
    async with await Store.open(tmp_path) as store:

        async def asked(settings: Config) -> Quota:
            return await quota_of(store, lambda _: 30.0, settings, user_id=7, guild_id=8, now=now)

        found = await asked(config())
        assert (found.used, found.limit) == (0.0, 100.0)
        assert found.resets == datetime(2026, 5, 5, tzinfo=UTC)
        assert (await asked(settings_for(config(), (2,)))).limit is None
        for number, (who, guild) in enumerate([(7, 8), (7, 9), (6, 8)]):
            await store.enqueue(job(who, guild, number))
        assert (await asked(config())).used == 30.0
        await store.community.set_quota(8, 7, 30.0)
        assert (await asked(config())).is_used_up
        await store.community.set_quota(8, 7, None)
        assert not (await asked(config())).is_used_up


def job(requester_id: int, guild_id: int, number: int) -> NewJob:
    return NewJob(
        kind=JobKind.IMAGINE,
        params=Params(prompt="x").to_json(),
        prompt="x",
        images=4,
        model="emoji",
        requester_id=requester_id,
        guild_id=guild_id,
        channel_id=1,
        interaction_id=number + 1,
    )
