"""The Triton kernels without a GPU, compiled for Hopper: every launch is taken down and compiled
for compute capability 9.0, down to the machine code that `ptxas` makes.

The interpreter takes much that the compiler does not. Nothing is run: right numbers are the
business of `tests/test_diffusion_kernels_interpreted.py`. Runs in a process of its own, beside
Triton.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.test_diffusion_kernels_checks import tick
from tests.test_diffusion_kernels_interpreted import case, run_with_triton

DTYPES = {
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.int32: "i32",
    torch.int64: "i64",
}
MODULES = {
    "fused_norms": ("_group_norm", "_layer_norm"),
    "fused_maps": ("_geglu", "_add"),
    "fused_tick": ("_combine_and_step", "_gather_scaled"),
}


class Compiling:
    """Stands for a kernel: a launch compiles it for the types and sizes of its arguments."""

    def __init__(self, kernel: Any) -> None:  # noqa: ANN401 - triton has no types
        self.kernel = kernel

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        assert all(0 < programs < 2**31 for programs in grid)
        assert all(programs < 2**16 for programs in grid[1:])
        return self.launch

    def launch(self, *values: Any, **named: Any) -> None:  # noqa: ANN401 - as above
        from triton import compile as compiled
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource

        options = {k: named.pop(k) for k in ("num_warps", "enable_fp_fusion") if k in named}
        assert options["enable_fp_fusion"] is False
        given = dict(zip(self.kernel.arg_names, values, strict=False)) | named
        signature, constants, attributes = {}, {}, {}
        for i, (parameter, value) in enumerate(
            zip(self.kernel.params, given.values(), strict=True)
        ):
            # Triton's own rules: 1 is a constant, and what 16 divides is known to be so.
            if parameter.is_constexpr or (type(value) is int and value == 1):
                signature[parameter.name] = "constexpr"
                constants[(i,)] = value
                continue
            signature[parameter.name] = typed(value)
            address = value.data_ptr() if isinstance(value, Tensor) else value
            if isinstance(address, int) and address % 16 == 0:
                attributes[(i,)] = [["tt.divisibility", 16]]
        source = ASTSource(self.kernel, signature, constants, attributes)
        found = compiled(source, target=GPUTarget("cuda", 90, 32), options=options)
        assert ".target sm_90" in found.asm["ptx"]
        assert found.asm["cubin"]
        # erf and exp are NVIDIA's and fuse by themselves; the tick must be IEEE's.
        if self.kernel.__name__ in ("_combine_and_step", "_gather_scaled", "_add"):
            assert "fma" not in found.asm["ptx"]


def typed(value: object) -> str:
    if isinstance(value, Tensor):
        return "*" + DTYPES[value.dtype]
    return "fp32" if isinstance(value, float) else "i32"


def launches(dtype: torch.dtype) -> Iterator[tuple[str, Callable[..., object], tuple[Any, ...]]]:
    """Everything that a U-Net and a tick launch, in the sizes of Stable Diffusion 1 and XL."""
    from diffusion.kernels import fused_maps, fused_norms, fused_tick

    def empty(*shape: int, last: bool = False) -> Tensor:
        layout = torch.channels_last if last else torch.contiguous_format
        return torch.empty(shape, dtype=dtype, memory_format=layout)

    def group(x: Tensor, *, plain: bool = False) -> None:
        one = empty(x.shape[1])
        rows = None if plain else empty(*x.shape[:2])
        fused_norms.group_norm(x, 32, one, one, 1e-5, silu=not plain, rows=rows)

    def layer(x: Tensor) -> None:
        fused_norms.layer_norm(x, empty(x.shape[-1]), empty(x.shape[-1]), 1e-5)

    def gather(*, last: bool) -> None:
        latents, slots, scales = torch.empty(3, 4, 64, 64), torch.tensor([2, 0]), torch.empty(2)
        fused_tick.gather_scaled(latents, slots, scales, dtype, channels_last=last)

    yield "group_norm", group, (empty(2, 320, 64, 64, last=True),)
    if dtype == torch.bfloat16:
        # What differs in the shape alone is compiled in one precision.
        yield "group_norm, planes", group, (empty(2, 320, 64, 64),)
        yield "group_norm, one position", group, (empty(2, 2560, 1, 1),)
        yield "group_norm, odd", partial(group, plain=True), (empty(1, 512, 33, 31),)
    yield "layer_norm", layer, (empty(2, 64, 1280),)
    yield "geglu", fused_maps.geglu, (empty(2, 64, 10240),)
    yield "residual, tokens", fused_maps.residual, (empty(2, 64, 320), empty(2, 64, 320))
    for last in (False, True) if dtype == torch.bfloat16 else (True,):
        x = empty(2, 320, 32, 32, last=last)
        yield f"add_rows {last}", fused_maps.add_rows, (x, empty(2, 320))
        yield f"residual {last}", fused_maps.residual, (x, x, empty(320))
        given = tick() | {"output": empty(6, 4, 19, 17, last=last)}
        yield f"combine_and_step {last}", partial(fused_tick.combine_and_step, **given), ()
        yield f"gather_scaled {last}", partial(gather, last=last), ()


def main() -> None:
    import diffusion.kernels.fused_maps
    import diffusion.kernels.fused_norms
    import diffusion.kernels.fused_tick

    for module, names in MODULES.items():
        for name in names:
            home = vars(getattr(diffusion.kernels, module))
            home[name] = Compiling(home[name])
    report = {
        f"{precision} {name}": case(partial(launch, *values))
        for dtype, precision in DTYPES.items()
        if dtype.is_floating_point
        for name, launch, values in launches(dtype)
    }
    print(json.dumps(report))  # noqa: T201 - this is what the parent reads


@pytest.mark.slow
def test_every_launch_compiles_for_hopper(tmp_path_factory: pytest.TempPathFactory) -> None:
    report = run_with_triton(
        "tests.test_diffusion_kernels_compiled",
        interpret=False,
        cache=tmp_path_factory.mktemp("compiled"),
    )
    assert len(report) >= 31
    assert {name: error for name, error in report.items() if error} == {}


if __name__ == "__main__":
    main()
