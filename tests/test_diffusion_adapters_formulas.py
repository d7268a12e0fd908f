"""LoHa, LoKr, DoRA, LoCon and full differences against the papers' formulas, written here again
with loops in float64.
"""

import math
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from diffusion.adapters import load_lora, match, patched
from diffusion.networks.configs import UNetConfig
from diffusion.networks.convolution import borders
from diffusion.networks.unet import UNet
from tests.parity.twins import fill

CONFIG = UNetConfig(
    model_channels=32, context_dim=24, channel_mult=(1,), transformer_depth=(1,), heads=4
)
LINEAR = "input_blocks.1.1.transformer_blocks.0.attn2.to_k"
CONV = "input_blocks.1.0.in_layers.2"
POINT = "input_blocks.1.1.proj_in"
RANK, ALPHA = 3, 1.2
Factors = dict[str, Tensor]


@pytest.fixture(scope="module")
def unet() -> UNet:
    network = UNet(CONFIG).double().eval()
    fill(network, seed=1)
    return network


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def output(layer: nn.Module, weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    if weight.ndim == 2:
        return functional.linear(x, weight, bias)
    padding = weight.shape[-1] // 2
    return functional.conv2d(x, weight, bias, padding=padding)


def tucker(core: Tensor, a: Tensor, b: Tensor) -> Tensor:
    out = torch.zeros(a.shape[1], b.shape[1], *core.shape[2:], dtype=torch.float64)
    for i, j in product(range(core.shape[0]), range(core.shape[1])):
        out += core[i, j] * a[i][:, None, None, None] * b[j][None, :, None, None]
    return out


def kron(a: Tensor, b: Tensor) -> Tensor:
    """Rows and input channels of the two factors multiply; the window is the second one's."""
    rows = [
        torch.cat([a[i, j] * b[k : k + 1] for j in range(a.shape[1])], dim=1)
        for i, k in product(range(a.shape[0]), range(b.shape[0]))
    ]
    return torch.cat(rows)


def loha(out: int, inner: int, *, seed: int) -> Factors:
    names = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    shapes = ((out, RANK), (RANK, inner)) * 2
    return {n: draw(*s, seed=seed + k) for k, (n, s) in enumerate(zip(names, shapes, strict=True))}


def case_loha(out: int, inner: int, window: int) -> tuple[Factors, Tensor]:
    f = loha(out, inner * window**2, seed=1)
    change = (f["hada_w1_a"] @ f["hada_w1_b"]) * (f["hada_w2_a"] @ f["hada_w2_b"]) * ALPHA / RANK
    return f, change


def case_loha_tucker(out: int, inner: int, window: int) -> tuple[Factors, Tensor]:
    f = {
        f"hada_{name}": tensor
        for n in (1, 2)
        for name, tensor in (
            (f"t{n}", draw(RANK, RANK, window, window, seed=n)),
            (f"w{n}_a", draw(RANK, out, seed=10 + n)),
            (f"w{n}_b", draw(RANK, inner, seed=20 + n)),
        )
    }
    parts = [tucker(f[f"hada_t{n}"], f[f"hada_w{n}_a"], f[f"hada_w{n}_b"]) for n in (1, 2)]
    return f, parts[0] * parts[1] * ALPHA / RANK


def case_lokr_full(out: int, inner: int, window: int) -> tuple[Factors, Tensor]:
    extra = (window, window) if window > 1 else ()
    f = {"lokr_w1": draw(4, 2), "lokr_w2": draw(out // 4, inner // 2, *extra)}
    # Without a low rank there is no rank to divide alpha by.
    return f, kron(f["lokr_w1"], f["lokr_w2"])


def case_lokr_factored(out: int, inner: int, window: int) -> tuple[Factors, Tensor]:
    f = {
        "lokr_w1": draw(4, 2),
        "lokr_w2_a": draw(out // 4, RANK),
        "lokr_w2_b": draw(RANK, inner // 2 * window**2),
    }
    second = (f["lokr_w2_a"] @ f["lokr_w2_b"]).reshape(out // 4, inner // 2, window, window)
    return f, kron(f["lokr_w1"], second) * ALPHA / RANK


def case_lokr_both(out: int, inner: int, window: int) -> tuple[Factors, Tensor]:
    f = {
        "lokr_w1_a": draw(4, RANK),
        "lokr_w1_b": draw(RANK, 2),
        "lokr_t2": draw(RANK, RANK, window, window),
        "lokr_w2_a": draw(RANK, out // 4),
        "lokr_w2_b": draw(RANK, inner // 2),
    }
    second = tucker(f["lokr_t2"], f["lokr_w2_a"], f["lokr_w2_b"])
    return f, kron(f["lokr_w1_a"] @ f["lokr_w1_b"], second) * ALPHA / RANK


def case_locon(out: int, inner: int, window: int) -> tuple[Factors, Tensor]:
    f = {
        "lora_down.weight": draw(RANK, inner, window, window),
        "lora_up.weight": draw(out, RANK, 1, 1),
    }
    change = f["lora_up.weight"].flatten(1) @ f["lora_down.weight"].flatten(1)
    return f, change * ALPHA / RANK


def case_locon_mid(out: int, inner: int, window: int) -> tuple[Factors, Tensor]:
    f = {
        "lora_down.weight": draw(RANK, inner, 1, 1),
        "lora_mid.weight": draw(RANK, RANK, window, window),
        "lora_up.weight": draw(out, RANK, 1, 1),
    }
    up, down = f["lora_up.weight"].flatten(1).T, f["lora_down.weight"].flatten(1)
    return f, tucker(f["lora_mid.weight"], up, down) * ALPHA / RANK


def case_diff(out: int, inner: int, window: int) -> tuple[Factors, Tensor]:
    f = {"diff": draw(out, inner, window, window), "diff_b": draw(out, seed=9)}
    return f, f["diff"]


CASES: dict[str, tuple[str, Callable[[int, int, int], tuple[Factors, Tensor]]]] = {
    "LoHa, linear": (LINEAR, case_loha),
    "LoHa, convolution": (CONV, case_loha),
    "LoHa, Tucker": (CONV, case_loha_tucker),
    "LoKr, full": (LINEAR, case_lokr_full),
    "LoKr, full convolution": (CONV, case_lokr_full),
    "LoKr, factored": (LINEAR, case_lokr_factored),
    "LoKr, factored convolution": (CONV, case_lokr_factored),
    "LoKr, all factored": (CONV, case_lokr_both),
    "LoRA, linear layer as 1 x 1": (LINEAR, case_locon),
    "LoRA, 1 x 1": (POINT, case_locon),
    "LoCon": (CONV, case_locon),
    "LoCon with a core": (CONV, case_locon_mid),
    "full difference": (CONV, case_diff),
}


def spelled(name: str, factors: Factors) -> Factors:
    flat = f"lora_unet_{name.replace('.', '_')}"
    return {f"{flat}.{part}": tensor.contiguous() for part, tensor in factors.items()}


def check(unet: UNet, path: Path, name: str, factors: Factors, change: Tensor) -> None:
    """The layer with the file at weight 0.6 must be the layer with W + 0.6 change."""
    layer = unet.get_submodule(name)
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    save_file(spelled(name, factors), path)
    matched = match(load_lora(path), unet)
    assert matched.unmatched == ()
    shape = (2, 7, layer.weight.shape[1]) if layer.weight.ndim == 2 else (2, 32, 5, 6)
    x = draw(*shape)
    bias = layer.bias
    if "diff_b" in factors and bias is not None:
        bias = bias + 0.6 * factors["diff_b"]
    expected = output(layer, layer.weight + 0.6 * change.reshape(layer.weight.shape), bias, x)
    before = layer(x)
    with patched(unet, [(matched.unet, 0.6)]):
        ours = layer(x)
    assert float((ours - expected).abs().max() / expected.abs().max()) < 1e-12
    assert float((before - expected).abs().max() / expected.abs().max()) > 1e-3
    assert torch.equal(layer(x), before)


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_the_formula_of(case: str, unet: UNet, tmp_path: Path) -> None:
    name, build = CASES[case]
    weight = unet.get_submodule(name).weight
    assert isinstance(weight, Tensor)
    window = weight.shape[-1] if weight.ndim == 4 else 1
    factors, change = build(weight.shape[0], weight.shape[1], window)
    alpha = {"alpha": torch.tensor(ALPHA, dtype=torch.float64)} if case != "full difference" else {}
    check(unet, tmp_path / "a.safetensors", name, factors | alpha, change)


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("name", [LINEAR, CONV])
@torch.no_grad()
def test_dora_on_either_axis(name: str, rows: bool, unet: UNet, tmp_path: Path) -> None:
    weight = unet.get_submodule(name).weight
    assert isinstance(weight, Tensor)
    window = weight.shape[-1] if weight.ndim == 4 else 1
    factors, change = case_locon(weight.shape[0], weight.shape[1], window)
    moved = weight + change.reshape(weight.shape)
    magnitude = draw(weight.shape[0] if rows else weight.shape[1]).abs() + 0.5
    result = torch.empty_like(moved)
    for index, m in enumerate(magnitude):
        place = (index,) if rows else (slice(None), index)
        part = moved[place]
        result[place] = m * part / math.sqrt(float((part * part).sum()))
    shape = [1] * weight.ndim
    shape[0 if rows else 1] = -1
    factors["dora_scale"] = magnitude.reshape(shape)
    factors["alpha"] = torch.tensor(ALPHA, dtype=torch.float64)
    check(unet, tmp_path / "d.safetensors", name, factors, result - weight)


@pytest.mark.parametrize("alpha", [None, 0.0])
@torch.no_grad()
def test_no_alpha_means_the_rank(alpha: float | None, unet: UNet, tmp_path: Path) -> None:
    factors, change = case_locon(32, 24, 1)
    if alpha is not None:
        factors["alpha"] = torch.tensor(alpha)
    check(unet, tmp_path / "a.safetensors", LINEAR, factors, change / ALPHA * RANK)


@pytest.mark.parametrize("name", ["input_blocks.1.0.in_layers.0", "middle_block.1.norm"])
@torch.no_grad()
def test_norms(name: str, unet: UNet, tmp_path: Path) -> None:
    layer = unet.get_submodule(name)
    assert isinstance(layer, nn.GroupNorm)
    factors = {"w_norm": draw(32), "b_norm": draw(32, seed=3)}
    save_file(spelled(name, factors), tmp_path / "n.safetensors")
    matched = match(load_lora(tmp_path / "n.safetensors"), unet)
    x = draw(2, 32, 3, 4)
    with patched(unet, [(matched.unet, 0.5)]):
        ours = layer(x)
    weight = layer.weight + 0.5 * factors["w_norm"]
    expected = functional.group_norm(x, 32, weight, layer.bias + 0.5 * factors["b_norm"], layer.eps)
    assert float((ours - expected).abs().max()) < 1e-12


@torch.no_grad()
def test_seamless_borders_hold_for_the_patch_too(unet: UNet, tmp_path: Path) -> None:
    factors, change = case_locon(32, 32, 3)
    save_file(spelled(CONV, factors), tmp_path / "s.safetensors")
    matched = match(load_lora(tmp_path / "s.safetensors"), unet)
    layer = unet.get_submodule(CONV)
    assert isinstance(layer, nn.Conv2d)
    x = draw(1, 32, 5, 6)
    with borders(seamless=True), patched(unet, [(matched.unet, 1.0)]):
        ours = layer(x)
    weight = layer.weight + (change / ALPHA * RANK).reshape(layer.weight.shape)
    wrapped = functional.pad(x, (1, 1, 1, 1), mode="circular")
    expected = functional.conv2d(wrapped, weight, layer.bias)
    assert float((ours - expected).abs().max() / expected.abs().max()) < 1e-12
