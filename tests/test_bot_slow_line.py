"""A slow line: a file is given the time that it needs, and nothing else is."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import bot.talk
from bot.talk import Attachment, Letter, Passing
from tests.bot_desk import Desk, open_desk

ONE_TRY = 0.3
DATA = os.urandom(400_000)


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(bot.talk, "ONE_TRY", ONE_TRY)
    async with open_desk(tmp_path) as opened:
        yield opened


def letter(*, beside: bool) -> Letter:
    file = Attachment(name="picture.bin", data=DATA, alt="noise")
    return Letter(content="x", others=(file,)) if beside else Letter(content="x", picture=file)


@pytest.mark.parametrize("beside", [False, True])
async def test_a_file_is_not_given_up_on_its_way(desk: Desk, *, beside: bool) -> None:
    # Every upload takes thrice the patience with anything else.
    desk.pg.faults.throttle("*", "/channels/*", bytes_per_second=400_000, count=2)
    sent = await desk.talk.send(desk.pg.channel_id, letter(beside=beside), nonce="n")
    await desk.talk.edit(desk.pg.channel_id, sent, letter(beside=beside))
    slow = [each for each in desk.pg.ledger.requests if each.fault == "throttle"]
    assert [each.status for each in slow] == [200, 200]
    assert min(each.seconds for each in slow) > 3 * ONE_TRY
    [found] = desk.pg.ledger.messages.values()
    assert await desk.pg.read_attachment(found.attachments[0]) == DATA


async def test_words_alone_are_given_up_as_ever(desk: Desk) -> None:
    desk.pg.faults.hang("*", "/channels/*", seconds=30)
    with pytest.raises(Passing):
        await desk.talk.send(desk.pg.channel_id, Letter(content="x"), nonce="n")
    assert not desk.pg.ledger.messages
