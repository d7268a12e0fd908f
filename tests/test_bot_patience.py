"""Waiting for the disk."""

import pytest

from bot.patience import TRIES, until_stored
from storage import StaleJob, StorageError, StoreDamaged, StoreFull


class Act:
    """Fails with each error in turn, then succeeds."""

    def __init__(self, *errors: StorageError) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "stored"


async def test_a_full_disk_is_outwaited_however_long_it_takes() -> None:
    act = Act(*[StoreFull("full")] * (3 * TRIES))
    assert await until_stored(act, first_pause=0) == "stored"
    assert act.calls == 3 * TRIES + 1


async def test_other_trouble_is_tried_a_few_times() -> None:
    act = Act(*[StorageError("busy")] * (TRIES - 1))
    assert await until_stored(act, first_pause=0) == "stored"
    act = Act(*[StorageError("busy")] * TRIES)
    with pytest.raises(StorageError, match="busy"):
        await until_stored(act, first_pause=0)
    assert act.calls == TRIES


@pytest.mark.parametrize("error", [StaleJob("moved on"), StoreDamaged("torn")])
async def test_what_no_waiting_changes_is_raised_at_once(error: StorageError) -> None:
    act = Act(error)
    with pytest.raises(type(error)):
        await until_stored(act, first_pause=0)
    assert act.calls == 1
