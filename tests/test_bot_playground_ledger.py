"""The ledger: what it remembers and how it wakes those who wait."""

from __future__ import annotations

import asyncio

import pytest

from bot.playground.ledger import GatewayRecord, Ledger, leaves
from tests.test_bot_playground_support import record


async def test_a_waiter_wakes_at_the_change_it_waits_for() -> None:
    ledger = Ledger()
    task = asyncio.create_task(ledger.wait(lambda known: len(known.requests) == 2))
    ledger.note_request(record())
    await asyncio.sleep(0)
    assert not task.done()
    ledger.note_request(record())
    assert await task is True


async def test_what_is_already_true_needs_no_waiting() -> None:
    ledger = Ledger()
    ledger.note_gateway(GatewayRecord(at=0.0, what="connect"))
    found = await ledger.wait(lambda known: known.happened("connect"))
    assert [item.what for item in found] == ["connect"]


async def test_waiting_ends() -> None:
    ledger = Ledger()
    with pytest.raises(TimeoutError):
        await ledger.wait(lambda known: known.requests, timeout=0.01)
    ledger.note_request(record())


async def test_a_broken_predicate_raises_where_it_was_asked() -> None:
    ledger = Ledger()
    task = asyncio.create_task(ledger.wait(lambda known: known.requests and 1 / 0))
    await asyncio.sleep(0)
    ledger.note_request(record())
    with pytest.raises(ZeroDivisionError):
        await task


def test_only_so_much_is_kept() -> None:
    ledger = Ledger(keep=3)
    for number in range(5):
        ledger.note_request(record(path=f"/{number}"))
    assert [item.path for item in ledger.requests] == ["/2", "/3", "/4"]


def test_invalid_requests_are_counted_as_discord_does() -> None:
    ledger = Ledger()
    for status, fault in ((200, None), (401, None), (403, None), (404, None), (429, None)):
        ledger.note_request(record(status=status, fault=fault))
    ledger.note_request(record(status=429, fault="limited_shared"))
    assert ledger.invalid_requests == 3


def test_leaves_are_found_in_rows_sections_and_labels() -> None:
    button = {"type": 2}
    tree = [
        {"type": 1, "components": [button, button]},
        {"type": 9, "components": [{"type": 10}], "accessory": {"type": 11}},
        {"type": 18, "component": {"type": 4}},
    ]
    assert [item["type"] for item in leaves(tree)] == [2, 2, 10, 11, 4]
