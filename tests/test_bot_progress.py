"""Progress: the newest step, spaced, and silence once it is closed."""

import asyncio
import logging

import pytest
from PIL import Image

from bot.config import DeliveryConfig
from bot.governor import Governor
from bot.progress import Progress, Sight
from diffusion import Step

QUICK = DeliveryConfig.model_construct(edit_seconds=0.0, preview=True, mention_requester=True)


def step(index: int, total: int = 10) -> Step:
    return Step(index=index, total=total, draw_preview=lambda: Image.new("RGB", (8, 8)))


class Screen:
    """Stands for the message: keeps what is shown, and can hold an edit back."""

    def __init__(self) -> None:
        self.shown: list[Sight] = []
        self.idle = True
        self.begun = asyncio.Event()
        self.free = asyncio.Event()
        self.free.set()
        self.changed = asyncio.Event()

    async def __call__(self, sight: Sight) -> None:
        self.begun.set()
        await self.free.wait()
        self.shown.append(sight)
        self.changed.set()

    async def next(self) -> Sight:
        async with asyncio.timeout(5):
            await self.changed.wait()
        self.changed.clear()
        return self.shown[-1]


def progress(
    screen: Screen, *, delivery: DeliveryConfig = QUICK, pace: Governor | None = None
) -> Progress:
    made = Progress(
        channel_id=1,
        show=screen,
        paint=lambda each: f"preview {each.index}".encode(),
        pace=pace or Governor(0.0),
        idle=lambda: screen.idle,
        delivery=lambda: delivery,
    )
    made.start()
    return made


async def test_a_step_is_shown_with_its_preview() -> None:
    screen = Screen()
    shown = progress(screen)
    shown.update(step(3))
    assert await screen.next() == Sight(step=3, total=10, preview=b"preview 3")
    assert shown.percent == 30
    await shown.close()


async def test_what_was_overtaken_is_never_shown() -> None:
    screen = Screen()
    screen.free.clear()
    shown = progress(screen)
    shown.update(step(1))
    await screen.begun.wait()
    for index in range(2, 9):
        shown.update(step(index))
    screen.free.set()
    while (await screen.next()).step != 8:
        pass
    await shown.close()
    assert [sight.step for sight in screen.shown] == [1, 8]


async def test_close_waits_for_the_edit_under_way_and_allows_no_other() -> None:
    screen = Screen()
    screen.free.clear()
    shown = progress(screen)
    shown.update(step(1))
    await screen.begun.wait()
    closing = asyncio.create_task(shown.close())
    await asyncio.sleep(0)
    assert not closing.done()
    shown.update(step(2))
    screen.free.set()
    await closing
    await asyncio.sleep(0.02)
    assert [sight.step for sight in screen.shown] == [1]


async def test_close_does_not_wait_for_a_turn() -> None:
    screen, pace = Screen(), Governor(60.0)
    await pace.turn(1)
    shown = progress(screen, pace=pace)
    shown.update(step(1))
    await asyncio.sleep(0)
    async with asyncio.timeout(1):
        await shown.close()
    assert screen.shown == []


async def test_closing_twice_or_before_the_start_is_nothing() -> None:
    screen = Screen()
    shown = progress(screen)
    await shown.close()
    await shown.close()


async def test_edits_of_one_message_keep_their_distance() -> None:
    screen = Screen()
    slow = DeliveryConfig.model_construct(edit_seconds=30.0, preview=False, mention_requester=True)
    shown = progress(screen, delivery=slow)
    shown.update(step(1))
    assert (await screen.next()).preview is None
    shown.update(step(2))
    await asyncio.sleep(0.05)
    await shown.close()
    assert len(screen.shown) == 1


async def test_progress_stands_back_while_results_wait() -> None:
    screen = Screen()
    screen.idle = False
    shown = progress(screen, pace=Governor(0.01))
    shown.update(step(1))
    await asyncio.sleep(0.05)
    assert screen.shown == []
    screen.idle = True
    assert (await screen.next()).step == 1
    await shown.close()


async def test_the_last_step_is_left_to_the_poster() -> None:
    screen = Screen()
    shown = progress(screen)
    pictures = (Image.new("RGB", (8, 8)),)
    last = Step(index=10, total=10, pictures=pictures, draw_preview=lambda: pictures[0])
    shown.update(last)
    await asyncio.sleep(0.02)
    await shown.close()
    assert screen.shown == []


async def test_a_channel_has_turns_of_its_own() -> None:
    pace = Governor(60.0)
    async with asyncio.timeout(1):
        await pace.turn(1)
        await pace.turn(2)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await pace.turn(1)


async def test_a_broken_preview_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Step) -> bytes:
        raise ValueError("no preview today")

    shown = Progress(
        channel_id=1,
        show=Screen(),
        paint=broken,
        pace=Governor(0.0),
        idle=lambda: True,
        delivery=lambda: QUICK,
    )
    shown.start()
    shown.update(step(1))
    with caplog.at_level(logging.ERROR, "bot.progress"):
        assert shown._task is not None
        await asyncio.wait({shown._task}, timeout=5)
        await shown.close()
    assert "no preview today" in caplog.text
