import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage.errors import StoreLocked
from storage.lock import InstanceLock

HOLD = "import sys; from pathlib import Path; from storage.lock import InstanceLock\n"


def test_the_second_is_refused_and_told_who_is_first(tmp_path: Path) -> None:
    first = InstanceLock(tmp_path / "lock")
    with pytest.raises(StoreLocked, match=f"process {os.getpid()}"):
        InstanceLock(tmp_path / "lock")
    first.release()
    first.release()
    InstanceLock(tmp_path / "lock").release()


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = HOLD + "lock = InstanceLock(Path(sys.argv[1])); print('held', flush=True); input()"
    child = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(StoreLocked, match=f"process {child.pid}"):
            InstanceLock(path)
        child.kill()
    InstanceLock(path).release()


def test_a_refusal_leaks_no_descriptor(tmp_path: Path) -> None:
    first = InstanceLock(tmp_path / "lock")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        with pytest.raises(StoreLocked):
            InstanceLock(tmp_path / "lock")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    first.release()
