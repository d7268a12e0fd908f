"""Halts: kept over restarts, everywhere before one guild, and a strange row counts as none."""

from pathlib import Path

from bot.halts import Halt, Halts
from bot.queue import EVERYWHERE, FairQueue
from storage import Scope, Store


async def test_a_halt_is_kept_and_taken_back(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        queue = FairQueue()
        halts = Halts(store, queue)
        await halts.set(7, Halt.PAUSED)
        await halts.set(8, Halt.DRAINING)
        assert queue.paused == {7}
        again, other = FairQueue(), Halts(store, queue)
        other = Halts(store, again)
        await other.load()
        assert again.paused == {7}
        assert (other.of(7), other.of(8), other.of(9)) == (Halt.PAUSED, Halt.DRAINING, None)
        await other.set(7, None)
        await other.set(8, None)
        assert not again.paused
        assert await store.people.preferences(Scope.GUILD, EVERYWHERE) == {}


async def test_what_holds_everywhere_comes_first(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        queue = FairQueue()
        halts = Halts(store, queue)
        await halts.set(7, Halt.DRAINING)
        await halts.set(None, Halt.PAUSED)
        assert halts.of(7) is halts.of(None) is Halt.PAUSED
        assert EVERYWHERE in queue.paused
        await halts.set(None, None)
        assert halts.of(7) is Halt.DRAINING
        assert halts.of(None) is None


async def test_a_drain_ends_a_pause(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        queue = FairQueue()
        halts = Halts(store, queue)
        await halts.set(7, Halt.PAUSED)
        await halts.set(7, Halt.DRAINING)
        assert not queue.paused


async def test_a_strange_row_counts_as_none(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        await store.people.set_preference(
            Scope.GUILD, EVERYWHERE, "halts", {"x": "paused", "7": "asleep", "8": "paused"}
        )
        queue = FairQueue()
        await Halts(store, queue).load()
        assert queue.paused == {8}
