"""Which clock the bot goes by: every reading of the wall clock is known, and why it may jump."""

import ast
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from storage import JobState
from tests.bot_desk import delivered, open_desk, results
from tests.test_bot_poster import crashed

ROOT: Final = Path(__file__).parents[1]
# Where the wall clock is read, and what happens when it jumps. Everything else goes by monotonic
# time, or by the ids that Discord made.
READ: Final = {
    "bot/backups_cli.py": "a backup is named by its date; commands of an admin, who reads it",
    "bot/care.py": "a backup is due by its date; one of the future counts as none",
    "bot/liveness.py": "since when the gateway is there, for people; its length is monotonic",
    "bot/manifest.py": "since when a file is trusted, a date that an admin reads; and whether it "
    "has been as it is for some seconds, without which it is read again",
    "bot/removing.py": "a counter is of a calendar day",
    "bot/commands/admin.py": "a ban's end is a date that people agree on",
    "bot/poster.py": "how old a message is decides between an edit and a new message, and where an "
    "earlier message is looked for first; both hold whatever it says",
    "bot/roles.py": "quotas are of calendar days",
    "storage/store.py": "the one clock of the store, for dates that people read",
}
NOW: Final = frozenset({"now", "utcnow", "today"})


def readings(path: Path) -> list[int]:
    """Return the lines in which a file reads the wall clock."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
            continue
        of, name = node.value.id, node.attr
        wall = (of == "time" and name in ("time", "time_ns")) or (
            of in ("datetime", "date") and name in NOW
        )
        if wall or (of == "utils" and name == "utcnow"):
            found.append(node.lineno)
    return found


def sources() -> list[Path]:
    """Return the product's files but for the playground, whose clock is Discord's, and training."""
    found = [*(ROOT / "bot").rglob("*.py"), *(ROOT / "storage").rglob("*.py")]
    apart = (ROOT / "bot" / "playground", ROOT / "bot" / "training")
    return [path for path in found if not any(path.is_relative_to(each) for each in apart)]


def test_every_reading_of_the_wall_clock_is_known() -> None:
    assert len(sources()) > 100
    found = {str(path.relative_to(ROOT)) for path in sources() if readings(path)}
    assert found == set(READ)


def test_a_reading_is_found(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("import time\nx = time.time\ny = datetime.now(UTC)\nz = time.monotonic()\n")
    assert readings(file) == [2, 3]


@pytest.mark.parametrize("days", [1, -1])
async def test_a_post_by_a_wrong_clock_is_found_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """Discord forgot the nonce, and when posting began is a day off: there is one message still."""
    monkeypatch.setattr("bot.playground.messages.NONCE_MEMORY", -1.0)
    async with open_desk(tmp_path) as desk:
        left = await crashed(desk, await desk.rendered(progress=False))
        wrong = datetime.now(UTC) + timedelta(days=days)
        poster = desk.poster()
        poster.submit(replace(left, post_started_at=wrong), look_first=True)
        await delivered(poster)
        done = await desk.job(left.id)
        assert done.state is JobState.POSTED
        (message,) = results(desk.pg, left.id)
        assert message.id == done.post_message_id
