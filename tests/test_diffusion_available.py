"""How much memory there is: the smallest of what kernel and container say."""

from pathlib import Path

import pytest
import torch

from diffusion.available import NO_LIMIT, available, host_available

GIB = 1 << 30


def machine(root: Path, *, groups: str = "", files: dict[str, object] | None = None) -> Path:
    """A machine with 8 GiB available, and what its control groups say."""
    written = {
        "proc/meminfo": f"MemTotal: {16 << 20} kB\nMemAvailable: {8 << 20} kB\n",
        "proc/self/cgroup": groups,
        **(files or {}),
    }
    for name, text in written.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(text))
    return root


def test_without_a_group_the_kernels_word_counts(tmp_path: Path) -> None:
    assert host_available(machine(tmp_path)) == 8 * GIB


@pytest.mark.parametrize("parent", [False, True])
def test_a_group_of_version_2_allows_less(tmp_path: Path, parent: bool) -> None:
    home = "sys/fs/cgroup/" if parent else "sys/fs/cgroup/bot/"
    files: dict[str, object] = {
        f"{home}memory.max": 4 * GIB,
        f"{home}memory.current": 3 * GIB,
        f"{home}memory.stat": f"anon 7\ninactive_file {GIB}\nactive_file {GIB // 2}\n",
    }
    if parent:
        files |= {"sys/fs/cgroup/bot/memory.max": "max", "sys/fs/cgroup/bot/memory.current": 5}
    found = host_available(machine(tmp_path, groups="0::/bot\n", files=files))
    assert found == 4 * GIB - 3 * GIB + GIB + GIB // 2


def test_a_group_of_version_1_allows_less_even_if_its_path_is_not_to_be_seen(
    tmp_path: Path,
) -> None:
    home = "sys/fs/cgroup/memory/"
    files: dict[str, object] = {
        f"{home}memory.limit_in_bytes": 2 * GIB,
        f"{home}memory.usage_in_bytes": GIB,
        f"{home}memory.stat": "inactive_file 5\ntotal_inactive_file 100\ntotal_active_file 20\n",
    }
    groups = "5:cpu,cpuacct:/a\n4:memory:/docker/abc\n0::/\n"
    assert host_available(machine(tmp_path, groups=groups, files=files)) == GIB + 120


def test_no_limit_is_none(tmp_path: Path) -> None:
    files: dict[str, object] = {
        "sys/fs/cgroup/memory/memory.limit_in_bytes": 2**63 - 4096,
        "sys/fs/cgroup/memory/memory.usage_in_bytes": GIB,
    }
    groups = "4:memory:/\n"
    assert host_available(machine(tmp_path, groups=groups, files=files)) == 8 * GIB
    assert host_available(tmp_path / "nowhere") == NO_LIMIT


def test_a_reserve_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert 0 < available(cpu) < host_available()
    monkeypatch.setattr("diffusion.available.host_available", lambda: 16 * GIB)
    assert available(cpu) == 16 * GIB - GIB - GIB // 2
    monkeypatch.setattr("diffusion.available.host_available", lambda: NO_LIMIT)
    assert available(cpu) == NO_LIMIT
    assert available(torch.device("meta")) == NO_LIMIT


def test_on_cuda_what_is_ours_already_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (60 * GIB, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 10 * GIB)
    assert available(torch.device("cuda")) == 70 * GIB - 5 * GIB - GIB // 2
