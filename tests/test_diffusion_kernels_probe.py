"""The fastest precision by invented rates, one real measurement, and quotas in invented files."""

import os
from pathlib import Path

import pytest
import torch

from diffusion.kernels.probe import fastest_dtype, gemm_rate, usable_cpus

F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16


@pytest.mark.parametrize(
    ("rates", "fastest"),
    [
        # Zen 3 without half precision, as measured for this project: float32 40-57 GFLOP/s.
        ({F32: 45e9, F16: 0.62e9, BF16: 0.19e9}, F32),
        # Zen 5 with AVX512-BF16, one thread, 2026.
        ({F32: 110e9, F16: 2.9e9, BF16: 415e9}, BF16),
        # A GPU: equal to within noise is float16, and a refusal counts as 0.
        ({F32: 50e12, F16: 600e12, BF16: 640e12}, F16),
        ({F32: 1e9, F16: 0.0, BF16: 0.0}, F32),
        ({F32: 1.0e9, F16: 1.05e9, BF16: 1.09e9}, F32),
    ],
)
def test_the_fastest_precision(rates: dict[torch.dtype, float], fastest: torch.dtype) -> None:
    assert fastest_dtype("cpu", rate=lambda dtype, device: rates[dtype]) is fastest


def test_a_rate_is_measured() -> None:
    assert gemm_rate(F32, torch.device("cpu")) > 1e8
    # The meta device computes nothing, and so has nothing to wait for.
    assert gemm_rate(F32, torch.device("meta")) > 0


def test_a_precision_that_cannot_multiply_has_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError('"addmm_impl_cpu_" not implemented for half')

    monkeypatch.setattr(torch, "ones", refuse)
    assert gemm_rate(F16, torch.device("cpu")) == 0.0


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    ("files", "own", "cpus"),
    [
        ({}, "0::/", 16),
        ({"cpu.max": "max 100000"}, "0::/", 16),
        ({"cpu.max": "400000 100000"}, "0::/", 4),
        ({"cpu.max": "350000 100000"}, "0::/", 3),
        ({"cpu.max": "50000 100000"}, "0::/", 1),
        ({"cpu.max": "9900000 100000"}, "0::/", 16),
        ({"pod/cpu.max": "200000 100000", "pod/box/cpu.max": "max 100000"}, "0::/pod/box", 2),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, "1:cpu:/", 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "1:cpu:/", 16),
        (
            {
                "cpu,cpuacct/a/cpu.cfs_quota_us": "200000",
                "cpu,cpuacct/a/cpu.cfs_period_us": "100000",
                "memory/cpu.max": "100000 100000",
            },
            "4:memory:/\n3:cpu,cpuacct:/a\n0::/",
            2,
        ),
        ({"cpu.max": "broken"}, "0::/", 16),
        ({"cpu.max": "100000 0"}, "0::/", 16),
        ({}, "nonsense", 16),
    ],
)
def test_quotas_of_control_groups(
    tmp_path: Path, files: dict[str, str], own: str, cpus: int
) -> None:
    for name, text in files.items():
        write(tmp_path / "groups" / name, text)
    write(tmp_path / "own", own)
    assert usable_cpus(groups=tmp_path / "groups", own=tmp_path / "own") == cpus


def test_affinity_holds_without_control_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = tmp_path / "nowhere"
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3}, raising=False)
    assert usable_cpus(groups=nowhere, own=nowhere) == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cpus(groups=nowhere, own=nowhere) == 1


def test_this_machine_has_at_least_one() -> None:
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)
