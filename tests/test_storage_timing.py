from pathlib import Path

import pytest

from storage.timing import measure_commits


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_commits_are_timed_and_leave_nothing(tmp_path: Path) -> None:
    times = await measure_commits(tmp_path, count=20)
    assert times.count == 20
    assert 0 < times.p50_ms <= times.p99_ms <= times.worst_ms
    assert left_in(tmp_path) == []
    with pytest.raises(ValueError, match="count is 0"):
        await measure_commits(tmp_path, count=0)
