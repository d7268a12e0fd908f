"""The governor: spacing, windows learned from headers, and that previews never delay a result."""

import asyncio
import time
from pathlib import Path
from statistics import quantiles

import pytest

from bot.governor import Governor
from bot.playground import Playground, PlayInteraction, RateLimits, aim, rest_messages
from bot.playground.ratelimits import Limit
from tests.bot_room import Room, results
from tests.fakes import FakeEngine

WINDOW = {"X-RateLimit-Limit": "5", "X-RateLimit-Reset-After": "2.0"}


class Clock:
    def __init__(self) -> None:
        self.now = 10.0

    def __call__(self) -> float:
        return self.now


def test_a_window_with_room_lets_progress_through() -> None:
    governor = Governor(clock=Clock())
    governor.heard(1, 200, WINDOW | {"X-RateLimit-Remaining": "3"})
    assert governor.pause(1) == 0.0
    assert governor.pause(2) == 0.0


def test_the_last_places_of_a_window_are_left_to_results() -> None:
    clock = Clock()
    governor = Governor(clock=clock)
    governor.heard(1, 200, WINDOW | {"X-RateLimit-Remaining": "2"})
    assert governor.pause(1) == pytest.approx(2.0)
    clock.now += 1.5
    assert governor.pause(1) == pytest.approx(0.5)
    clock.now += 1.0
    assert governor.pause(1) == 0.0


def test_after_a_429_progress_is_silent_for_as_long_as_discord_says() -> None:
    governor = Governor(clock=Clock())
    governor.heard(1, 429, {"Retry-After": "7.5"})
    assert governor.pause(1) == pytest.approx(7.5)


@pytest.mark.parametrize("value", ["soon", ""])
def test_headers_that_make_no_sense_are_left_alone(value: str) -> None:
    governor = Governor(clock=Clock())
    governor.heard(1, 200, {"X-RateLimit-Reset-After": value or "0", "X-RateLimit-Limit": value})
    assert governor.pause(1) == 0.0


async def test_turns_of_a_channel_keep_their_distance() -> None:
    governor = Governor(0.05)
    before = time.monotonic()
    for _ in range(4):
        await governor.turn(1)
    assert time.monotonic() - before >= 0.149


async def test_a_turn_waits_for_a_window_with_room() -> None:
    governor = Governor(0.0)
    soon = WINDOW | {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "0.1"}
    governor.heard(1, 200, soon)
    before = time.monotonic()
    await governor.turn(1)
    assert time.monotonic() - before >= 0.099


def test_channels_of_long_ago_are_forgotten() -> None:
    governor = Governor(clock=Clock())
    for channel in range(3000):
        governor.heard(channel, 200, WINDOW | {"X-RateLimit-Remaining": "0"})
    assert governor.pause(0) == 0.0
    assert governor.pause(2999) > 0.0


JOBS = 20
SHRINK = 5


def quick_limit(*, name: str, requests: int, window: float) -> Limit:
    """Make Discord's windows shorter, so that the test is."""
    return Limit(name=name, requests=requests, window=window / SHRINK)


async def delays(folder: Path, monkeypatch: pytest.MonkeyPatch, *, previews: bool) -> list[float]:
    """Paint twenty jobs in one channel under Discord's limits; return how late each result was."""
    monkeypatch.setattr(rest_messages, "Limit", quick_limit)
    toml = (
        "[delivery]\nedit_seconds = 1\nmention_requester = false\n"
        f"preview = {str(previews).lower()}\n"
        "[storage]\nmin_free_gib = 0\n"
        f"[queue]\nmax_running = {JOBS}\nmax_waiting_user = {JOBS}\n"
    )
    async with Playground(rate_limits=RateLimits()) as pg:
        undo = aim(pg.api_base, pg.gateway_url, pg.cdn_base)
        room = Room(pg=pg, folder=folder, engine=FakeEngine())
        try:
            async with room.bot(toml) as app:
                if not previews:
                    # Nobody is told how far anything is: what results take by themselves.
                    monkeypatch.setattr("bot.progress.Progress.update", lambda *_: None)
                app.client.governor._seconds /= SHRINK
                return await paint_all(room)
        finally:
            undo()
            monkeypatch.undo()


async def paint_all(room: Room) -> list[float]:
    gate = room.engine.hold(3)
    asked: list[PlayInteraction] = [
        await room.imagine(who, f"a heart {number} --steps 4")
        for number, who in enumerate(["alice", "bob"] * (JOBS // 2))
    ]
    await gate.holds(JOBS)
    # Progress is on its way for all of them when the first results come.
    await asyncio.sleep(2.0)
    before = time.monotonic()
    done: dict[int, float] = {}

    def look(ledger: object) -> bool:
        del ledger
        for message in results(room.pg.ledger):
            done.setdefault(message.id, time.monotonic() - before)
        return len(done) == len(asked)

    gate.open.set()
    await room.pg.wait(look, timeout=50)
    return sorted(done.values())


@pytest.mark.slow
async def test_previews_do_not_delay_the_results_of_twenty_jobs_in_one_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "with").mkdir()
    without = await delays(tmp_path / "without", monkeypatch, previews=False)
    with_them = await delays(tmp_path / "with", monkeypatch, previews=True)
    # The 95th of a hundred: within one of Discord's windows of what it is without any progress.
    late, alone = quantiles(with_them, n=20)[-1], quantiles(without, n=20)[-1]
    assert late <= alone + 5.0 / SHRINK
