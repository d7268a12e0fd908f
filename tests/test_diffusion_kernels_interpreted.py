"""The Triton kernels without a GPU, in Triton's interpreter: held to their twins, alone and in
company, and broken on purpose.

Triton is looked for in `.venv/triton` (see the Makefile) or beside a torch built for CUDA. It runs
in a process of its own, `python -m tests.test_diffusion_kernels_interpreted FOLDER`, which prints a
JSON object with what went wrong in each case, "" for nothing. The interpreter shows what a kernel
computes, not whether it compiles (`tests/test_diffusion_kernels_compiled.py` does) or is fast.
"""

import importlib.util
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
import torch

from diffusion.kernels import dispatch
from tests.test_diffusion_kernels_checks import CHECKS, Kernels, close, numbers, tick

ROOT: Final = Path(__file__).parent.parent
TRITON: Final = Path(sys.prefix) / "triton"
# A fault in each kernel, and the check that must notice it.
FAULTS: Final = (
    ("group_norm_alone", "fused_norms", "start_of_group = sample *", "start_of_group = 0 *"),
    ("group_norm", "fused_norms", "+ weights * spread * spread", ""),
    ("group_norm", "fused_norms", "+ block_positions - 1)", "+ block_positions)"),
    ("group_norm", "fused_norms", "rows += sample * channels + first", "rows += first"),
    ("layer_norm", "fused_norms", "tl.where(inside, value - centre, 0.0)", "value - centre"),
    ("geglu", "fused_maps", "1.0 + tl.erf(gate * 0.7071067811865476)", "1.0 + tl.erf(gate * 0.7)"),
    ("sums", "fused_maps", "(index // inner) % channels", "index % channels"),
    ("sums", "fused_maps", "sample * table_stride", "0 * table_stride"),
    ("tick_masks", "fused_tick", "& (weight != 0)", ""),
    ("tick_masks", "fused_tick", "& (skip != 0)", ""),
    ("tick", "fused_tick", "& (factor != 0)", ""),
    ("tick_masks", "fused_tick", "tl.where(scale != 0, combined, 0.0)", "combined"),
    ("tick_alone", "fused_tick", "table + picture * width", "table"),
    ("gather", "fused_tick", "& (scale != 0)", ""),
)  # fmt: skip


def check_dispatch() -> None:
    """Every dispatching function hands its arguments on as the kernels take them."""
    x, tokens, half = numbers(2, 8, 3, 3), numbers(2, 5, 8), numbers(8)
    given = tick()
    calls: tuple[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]], ...] = (
        (dispatch.group_norm, (x, 2, half, half, 1e-5), {"silu": True, "rows": numbers(2, 8)}),
        (dispatch.layer_norm, (tokens, half, half, 1e-5), {}),
        (dispatch.geglu, (tokens,), {}),
        (dispatch.add_rows, (x, numbers(2, 8)), {}),
        (dispatch.residual, (x, x, half), {}),
        (dispatch.combine_and_step, (), given),
        (dispatch.gather_scaled, (x, torch.tensor([1]), numbers(1), torch.float16), {}),
    )
    fits = dispatch._fits
    for function, values, named in calls:
        twin = function(*values, **named)
        dispatch._fits = lambda x, elements, *others: True
        try:
            kernel = function(*values, **named)
        finally:
            dispatch._fits = fits
        pairs = zip(kernel, twin, strict=True) if isinstance(twin, tuple) else [(kernel, twin)]
        for a, b in pairs:
            close(a, b, 2e-6)


def kernels(**replaced: ModuleType) -> Kernels:
    """Import the kernels, or take what stands for one of their modules."""
    from diffusion.kernels import fused_maps, fused_norms, fused_tick

    return Kernels(
        norms=replaced.get("fused_norms", fused_norms),
        maps=replaced.get("fused_maps", fused_maps),
        tick=replaced.get("fused_tick", fused_tick),
    )


def faulty(folder: Path, module: str, old: str, new: str) -> Kernels:
    """Import a copy of a module with a fault in it."""
    text = (ROOT / "diffusion" / "kernels" / f"{module}.py").read_text(encoding="utf-8")
    assert old in text, f"{module}.py has no {old!r} any more"
    path = folder / f"{module}_{abs(hash((old, new)))}.py"
    path.write_text(text.replace(old, new), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = loaded
    spec.loader.exec_module(loaded)
    return kernels(**{module: loaded})


def case(run: Callable[[], object]) -> str:
    """Run something; return what it raised, in words, or ""."""
    try:
        run()
    except Exception:
        return traceback.format_exc(limit=-3)
    return ""


def check_import_is_late() -> None:
    one = numbers(4)
    dispatch.group_norm(numbers(1, 4, 2, 2), 2, one, one, 1e-5, silu=True)
    assert "triton" not in sys.modules, "a CPU tensor brought triton in"


def main(folder: Path) -> None:
    report = {"import_is_late": case(check_import_is_late)}
    report["dispatch"] = case(check_dispatch)
    report |= {name: case(partial(check, kernels())) for name, check in CHECKS.items()}
    for check, module, old, new in FAULTS:
        broken = faulty(folder, module, old, new)
        report[f"{module}: {old}"] = case(partial(CHECKS[check], broken))
    print(json.dumps(report))  # noqa: T201 - this is what the parent reads


def run_with_triton(module: str, *arguments: str, interpret: bool, cache: Path) -> dict[str, str]:
    """Run a module of tests beside Triton and return its report; skip where there is no Triton."""
    if not TRITON.is_dir() and importlib.util.find_spec("triton") is None:
        pytest.skip("no triton: make test puts it into .venv/triton")
    done = subprocess.run(  # noqa: S603 - our own interpreter and our own code
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                filter(None, (str(TRITON), os.environ.get("PYTHONPATH")))
            ),
            "TRITON_INTERPRET": "1" if interpret else "0",
            "TRITON_CACHE_DIR": str(cache),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return report


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("interpreted")
    return run_with_triton(
        "tests.test_diffusion_kernels_interpreted", str(folder), interpret=True, cache=folder
    )


@pytest.mark.parametrize("name", ["import_is_late", "dispatch", *CHECKS])
def test_the_kernel_does_what_its_twin_does(report: dict[str, str], name: str) -> None:
    assert report[name] == ""


@pytest.mark.slow
@pytest.mark.parametrize(("module", "fault"), [fault[1:3] for fault in FAULTS])
def test_a_broken_kernel_is_noticed(report: dict[str, str], module: str, fault: str) -> None:
    assert "AssertionError" in report[f"{module}: {fault}"]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
