"""Twins against the modules and formulas they stand for, and who runs where."""

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import diffusion.kernels
from diffusion.kernels import (
    GroupNorm,
    LayerNorm,
    activated,
    add_rows,
    combine_and_step,
    dispatch,
    gather_scaled,
    geglu,
    group_norm,
    layer_norm,
    residual,
)
from tests.test_diffusion_kernels_checks import numbers, same, tick

FOLDER = Path(diffusion.kernels.__file__).parent


class Cuda(Tensor):
    """A tensor that says it lies on a GPU."""

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True


def on_gpu(x: Tensor) -> Tensor:
    return x.as_subclass(Cuda)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_group_norm_has_the_bits_of_the_modules(layout: torch.memory_format) -> None:
    x, rows = numbers(2, 60, 7, 9).contiguous(memory_format=layout), numbers(2, 60, seed=1)
    norm = nn.GroupNorm(6, 60, eps=1e-6)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    given = (6, norm.weight, norm.bias, 1e-6)
    same(group_norm(x, *given, silu=False), norm(x))
    same(group_norm(x, *given, silu=True), nn.SiLU()(norm(x)))
    wanted = nn.SiLU()(norm(x + rows[:, :, None, None]))
    same(group_norm(x, *given, silu=True, rows=rows), wanted)


def test_the_layers_hold_the_same_parameters() -> None:
    ours, theirs = GroupNorm(4, 20), nn.GroupNorm(4, 20)
    ours.load_state_dict({name: numbers(20, seed=i) for i, name in enumerate(("weight", "bias"))})
    theirs.load_state_dict(ours.state_dict())
    x, rows = numbers(3, 20, 4, 4), numbers(3, 20, seed=1)
    same(ours(x), theirs(x))
    same(activated(ours, x), nn.SiLU()(theirs(x)))
    same(activated(ours, x, rows), nn.SiLU()(theirs(x + rows[:, :, None, None])))
    tokens = numbers(2, 5, 20)
    same(LayerNorm(20)(tokens), nn.LayerNorm(20)(tokens))


def test_a_norm_with_hooks_is_not_fused() -> None:
    """A patch adds to what the norm returns, before the activation, and must see x with rows."""
    norm, x, rows = GroupNorm(2, 4), numbers(1, 4, 3, 3), numbers(1, 4)
    seen: list[Tensor] = []

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        seen.extend(inputs)
        return output + 1

    handle = norm.register_forward_hook(add)
    found = activated(norm, x, rows)
    added = x + rows[:, :, None, None]
    same(seen[0], added)
    handle.remove()
    same(found, nn.functional.silu(norm(added) + 1))
    norm.register_forward_pre_hook(lambda layer, inputs: (inputs[0] * 2,))
    same(activated(norm, x), nn.functional.silu(norm(x)))


def test_only_a_group_norm_is_activated() -> None:
    with pytest.raises(TypeError, match="not Identity"):
        activated(nn.Identity(), numbers(1, 4, 2, 2))


def test_layers_pass_gradients() -> None:
    norm = GroupNorm(2, 4)
    x = numbers(1, 4, 3, 3).requires_grad_()
    torch.autograd.backward(activated(norm, x).sum())
    assert norm.weight.grad is not None
    assert x.grad is not None


def test_geglu_is_the_exact_gelu() -> None:
    x = numbers(2, 3, 14) * 4
    value, gate = x[..., :7], x[..., 7:]
    given = x.clone()
    wanted = value * nn.functional.gelu(gate)
    same(geglu(x), wanted)
    with torch.inference_mode():
        same(geglu(x), wanted)
    same(x, given)
    phi = (1 + torch.erf(gate.double() / 2**0.5)) / 2
    torch.testing.assert_close(geglu(x.double()), value.double() * gate.double() * phi)


def test_layer_norm_has_the_bits_of_the_module() -> None:
    x = numbers(2, 3, 320)
    norm = nn.LayerNorm(320)
    nn.init.normal_(norm.weight)
    same(layer_norm(x, norm.weight, norm.bias, norm.eps), norm(x))


def test_sums() -> None:
    x, y, rows, bias = numbers(2, 5, 3, 4), numbers(2, 5, 3, 4), numbers(2, 5), numbers(5)
    same(add_rows(x, rows), x + rows[:, :, None, None])
    same(residual(x, y), x + y)
    same(residual(x, y, bias), (y + bias[:, None, None]) + x)
    tokens = numbers(2, 7, 5)
    same(residual(tokens, tokens, bias), (tokens + bias) + tokens)


def test_a_tick_is_the_formulas() -> None:
    given = tick()
    denoised, stepped = combine_and_step(**given)
    for n in range(3):
        rows, scalings = given["output"][given["table"][n].long()], given["scalings"][n]
        combined = (given["weights"][n][:, None, None, None] * rows).sum(0)
        wanted = scalings[0] * given["registers"][n, 0] + scalings[1] * combined
        torch.testing.assert_close(denoised[n], wanted, rtol=1e-5, atol=1e-5)
        terms = torch.cat([wanted[None], given["registers"][n]])
        wanted = (given["coefficients"][n][:, None, None, None] * terms).sum(0)
        torch.testing.assert_close(stepped[n], wanted, rtol=1e-5, atol=2e-5)


def test_a_guided_euler_step_by_the_tick() -> None:
    """D = x - sigma (neg + w (pos - neg)); x' = x + (x - D) (sigma' / sigma - 1)."""
    x, output, sigma, sigma_next, w = (
        numbers(1, 4, 8, 8),
        numbers(2, 4, 8, 8, seed=1),
        3.0,
        2.0,
        7.5,
    )
    denoised, stepped = combine_and_step(
        output,
        torch.tensor([[0, 1]]),
        torch.tensor([[w, 1 - w]]),
        torch.tensor([[1.0, -sigma]]),
        x[:, None],
        torch.tensor([[1 - sigma_next / sigma, sigma_next / sigma]]),
    )
    wanted = x - sigma * (output[1:] + w * (output[:1] - output[1:]))
    torch.testing.assert_close(denoised, wanted)
    torch.testing.assert_close(stepped, x + (x - wanted) / sigma * (sigma_next - sigma))


def test_rows_are_gathered_scaled_and_laid_out() -> None:
    x, slots, scales = numbers(3, 4, 5, 6), torch.tensor([2, 0]), torch.tensor([0.5, 0.25])
    rows = gather_scaled(x, slots, scales, torch.float16, channels_last=True)
    assert rows.is_contiguous(memory_format=torch.channels_last)
    same(rows.contiguous(), torch.stack([x[2] * 0.5, x[0] * 0.25]).half())


class Counting:
    """Stands for a module of kernels: says what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any kernel's launcher
        return lambda *values, **named: self.asked.append(name)


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Counting:
    counting = Counting()
    for module in ("fused_norms", "fused_maps", "fused_tick"):
        monkeypatch.setattr(diffusion.kernels, module, counting, raising=False)
    monkeypatch.setattr(dispatch, "_has_triton", lambda: True)
    return counting


def everything(place: Any, dtype: torch.dtype = torch.float32) -> None:  # noqa: ANN401 - a function
    """Call every dispatching function once on tensors that `place` has put somewhere."""
    x, one, tokens = (place(numbers(*s, dtype=dtype)) for s in ((2, 8, 3, 3), (8,), (2, 5, 8)))
    given = {name: place(value) for name, value in tick().items()}
    given["output"] = given["output"].to(dtype)
    group_norm(x, 2, one, one, 1e-5, silu=True)
    layer_norm(tokens, one, one, 1e-5)
    geglu(tokens)
    add_rows(x, place(numbers(2, 8, dtype=dtype)))
    residual(x, x)
    combine_and_step(**given)
    gather_scaled(x.float(), place(torch.tensor([1])), place(numbers(1)), torch.float16)


EVERYTHING = [
    "group_norm",
    "layer_norm",
    "geglu",
    "add_rows",
    "residual",
    "combine_and_step",
    "gather_scaled",
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_gpu_without_gradients_gets_kernels(kernels: Counting, dtype: torch.dtype) -> None:
    with torch.inference_mode():
        everything(on_gpu, dtype)
    assert kernels.asked == EVERYTHING


def test_a_cpu_gets_twins(kernels: Counting) -> None:
    with torch.inference_mode():
        everything(lambda x: x)
    assert kernels.asked == []


def test_gradients_get_twins(kernels: Counting) -> None:
    everything(on_gpu)
    assert kernels.asked == []


@pytest.mark.parametrize(("reason", "answer"), [("_has_triton", False), ("is_compiling", True)])
def test_no_triton_or_a_compiler_gets_twins(
    kernels: Counting, monkeypatch: pytest.MonkeyPatch, reason: str, answer: bool
) -> None:
    place = dispatch if reason == "_has_triton" else torch.compiler
    monkeypatch.setattr(place, reason, lambda: answer)
    with torch.inference_mode():
        everything(on_gpu)
    assert kernels.asked == []


@torch.inference_mode()
def test_what_does_not_fit_gets_twins(kernels: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    one = on_gpu(numbers(9000).double())
    layer_norm(on_gpu(numbers(2, 9000)), one.float(), one.float(), 1e-5)
    geglu(one[None])
    group_norm(on_gpu(numbers(2, 4, 6)), 2, one[:4].float(), one[:4].float(), 1e-5, silu=False)
    residual(one[:4].float(), one[:4].float())
    group_norm(on_gpu(numbers(0, 4, 2, 2)), 2, one[:4].float(), one[:4].float(), 1e-5, silu=False)
    given = {name: on_gpu(value) for name, value in tick().items()}
    combine_and_step(**given | {"registers": given["registers"].double()})
    combine_and_step(**given | {"table": tick()["table"]})
    gather_scaled(given["output"], on_gpu(torch.tensor([1])), numbers(1), torch.float16)
    gather_scaled(given["output"], on_gpu(torch.tensor([1])), one[:1].float(), torch.float64)
    assert kernels.asked == []
    monkeypatch.setattr(dispatch, "_LARGEST", 4 * 19 * 17 - 1)
    add_rows(given["output"], on_gpu(numbers(6, 4)))
    assert kernels.asked == []
    add_rows(given["output"][:, :, 1:], on_gpu(numbers(6, 4)))
    assert kernels.asked == ["add_rows"]


def test_only_kernels_import_triton_and_only_dispatch_imports_kernels() -> None:
    late = {path for path in FOLDER.glob("*.py") if path.name.startswith(("fused_", "language"))}
    assert len(late) == 4
    for path in FOLDER.glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import | ast.ImportFrom) and path not in late:
                names = {alias.name for alias in node.names} | {getattr(node, "module", "") or ""}
                assert not any("triton" in n or "fused_" in n or "language" in n for n in names)


def test_triton_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def find(name: str) -> SimpleNamespace:
        asked.append(name)
        return SimpleNamespace()

    monkeypatch.setattr(dispatch, "find_spec", find)
    dispatch._has_triton.cache_clear()
    try:
        assert dispatch._has_triton()
        assert dispatch._has_triton()
        assert asked == ["triton"]
    finally:
        dispatch._has_triton.cache_clear()
