"""Patches: seen by whoever asked for them, by nobody else, and gone without a trace."""

import math
import threading
from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from diffusion.adapters import Matched, PatchSet, load_lora, match, patched, patched_rows
from diffusion.adapters.patches import LowRank
from diffusion.networks.configs import UNetConfig
from diffusion.networks.unet import UNet
from tests.parity.twins import fill

CONFIG = UNetConfig(
    model_channels=32, context_dim=24, channel_mult=(1,), transformer_depth=(1,), heads=4
)
LAYER = "lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_k"


@pytest.fixture
def unet() -> UNet:
    network = UNet(CONFIG).eval()
    fill(network, seed=1)
    return network


def lora(unet: UNet, path: Path, seed: int) -> Matched:
    generator = torch.Generator().manual_seed(seed)
    factors = {
        f"{LAYER}.lora_down.weight": torch.randn(2, 24, generator=generator),
        f"{LAYER}.lora_up.weight": torch.randn(32, 2, generator=generator),
    }
    save_file(factors, path / f"{seed}.safetensors")
    return match(load_lora(path / f"{seed}.safetensors"), unet)


@torch.inference_mode()
def run(unet: UNet) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(1, 4, 6, 6, generator=generator)
    context = torch.randn(1, 5, 24, generator=generator)
    return cast(Tensor, unet(x, torch.tensor([300.0]), context))


def test_removal_is_exact_even_after_an_error(unet: UNet, tmp_path: Path) -> None:
    weights = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    before = run(unet)
    matched = lora(unet, tmp_path, 1)
    assert torch.equal(run(unet), before)
    with pytest.raises(RuntimeError, match="stop"), patched(unet, [(matched.unet, 1.0)]):
        assert not torch.equal(run(unet), before)
        raise RuntimeError("stop")
    assert torch.equal(run(unet), before)
    after = unet.state_dict()
    assert after.keys() == weights.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in weights.items())


def test_half_precision_comes_back_exactly_too(unet: UNet, tmp_path: Path) -> None:
    unet.to(torch.bfloat16)
    matched = lora(unet, tmp_path, 1)
    layer = unet.get_submodule("input_blocks.1.1.transformer_blocks.0.attn2.to_k")
    x = torch.ones(1, 3, 24, dtype=torch.bfloat16)
    before = layer(x)
    with patched(unet, [(matched.unet, 1.0)]):
        inside = layer(x)
    assert inside.dtype == torch.bfloat16
    assert not torch.equal(inside, before)
    assert torch.equal(layer(x), before)


def test_other_threads_never_see_a_patch(unet: UNet, tmp_path: Path) -> None:
    matched = lora(unet, tmp_path, 1)
    before = run(unet)
    seen: list[Tensor] = []
    with patched(unet, [(matched.unet, 1.0)]):
        inside = run(unet)
        thread = threading.Thread(target=lambda: seen.append(run(unet)))
        thread.start()
        thread.join()
    assert torch.equal(seen[0], before)
    assert not torch.equal(inside, before)


def test_weights_and_nesting_add_up(unet: UNet, tmp_path: Path) -> None:
    a, b = lora(unet, tmp_path, 1), lora(unet, tmp_path, 2)
    with patched(unet, [(a.unet, 0.5), (b.unet, -1.0)]):
        together = run(unet)
    with patched(unet, [(a.unet, 0.5)]), patched(unet, [(b.unet, -1.0)]):
        assert torch.equal(run(unet), together)
    with patched(unet, [(a.unet, 0.5), (a.unet, -0.5)]):
        assert torch.allclose(run(unet), run(unhooked(unet)), atol=1e-5)


def unhooked(unet: UNet) -> UNet:
    """The same weights without any hook."""
    network = UNet(CONFIG).eval()
    network.load_state_dict(unet.state_dict())
    return network


def test_a_layer_is_hooked_once_however_many_files(unet: UNet, tmp_path: Path) -> None:
    first = lora(unet, tmp_path, 1)
    with patched(unet, [(first.unet, 1.0)]):
        once = run(unet)
    lora(unet, tmp_path, 1)
    lora(unet, tmp_path, 2)
    with patched(unet, [(first.unet, 1.0)]):
        assert torch.equal(run(unet), once)


def test_weight_zero_is_no_patch(unet: UNet, tmp_path: Path) -> None:
    matched = lora(unet, tmp_path, 1)
    before = run(unet)
    with patched(unet, [(matched.unet, 0.0)]):
        assert torch.equal(run(unet), before)


def test_refusals(unet: UNet, tmp_path: Path) -> None:
    matched = lora(unet, tmp_path, 1)
    with (
        pytest.raises(ValueError, match="another network"),
        patched(unhooked(unet), [(matched.unet, 1.0)]),
    ):
        pass
    with pytest.raises(ValueError, match="finite"), patched(unet, [(matched.unet, math.nan)]):
        pass


@torch.inference_mode()
def test_every_row_has_its_own_patches(unet: UNet, tmp_path: Path) -> None:
    """Rows of one pass with a LoRA each, two, or none get what each gets alone, bit for bit."""
    a, b = lora(unet, tmp_path, 1), lora(unet, tmp_path, 2)
    wanted: list[list[tuple[PatchSet, float]]] = [
        [(a.unet, 1.0)],
        [],
        [(b.unet, 0.5)],
        [(a.unet, -0.5), (b.unet, 1.0)],
        [(a.unet, 0)],
    ]
    generator = torch.Generator().manual_seed(2)
    layer = unet.get_submodule("input_blocks.1.1.transformer_blocks.0.attn2.to_k")
    x = torch.randn(5, 70, 24, generator=generator)
    with patched_rows(unet, wanted):
        found = layer(x)
    for row, patches in enumerate(wanted):
        with patched_rows(unet, [patches] * 2):
            alone = layer(x[row].expand(2, -1, -1).contiguous())[0]
        assert torch.equal(found[row], alone), row
        with patched(unet, patches):
            assert torch.allclose(found[row], layer(x)[row], rtol=1e-5, atol=1e-5)
    plain = layer(x)
    assert torch.equal(found[1], plain[1])
    assert torch.equal(found[4], plain[4])
    assert not any(torch.equal(found[row], plain[row]) for row in (0, 2, 3))


def test_patches_of_rows_are_gone_after_an_error_and_are_checked(
    unet: UNet, tmp_path: Path
) -> None:
    before = run(unet)
    matched = lora(unet, tmp_path, 1)
    with pytest.raises(RuntimeError, match="stop"), patched_rows(unet, [[(matched.unet, 1.0)]]):
        raise RuntimeError("stop")
    assert torch.equal(run(unet), before)
    other = UNet(CONFIG)
    with (
        pytest.raises(ValueError, match="another network"),
        patched_rows(other, [[(matched.unet, 1.0)]]),
    ):
        pass
    with (
        pytest.raises(ValueError, match="finite"),
        patched_rows(unet, [[(matched.unet, math.inf)]]),
    ):
        pass


def test_only_layers_that_multiply_positions_have_factors_to_share() -> None:
    """Others keep their own operation, whose window the first factor has."""
    x = torch.randn(1, 24, 5, 6)
    for layer in (
        nn.Conv2d(24, 32, 1, stride=2),
        nn.Conv2d(24, 32, 1, padding=1),
        nn.Conv2d(24, 32, 3),
    ):
        parts = {"down": torch.randn(3, *layer.weight.shape[1:]), "up": torch.randn(32, 3)}
        patch = LowRank(layer, parts, None)
        assert patch.factors is None
        assert patch.added(x).shape == layer(x).shape
    point = nn.Conv2d(24, 32, 1)
    parts = {"down": torch.randn(3, 24, 1, 1), "up": torch.randn(32, 3, 1, 1)}
    factors = LowRank(point, parts, 1.5).factors
    assert factors is not None
    assert [tuple(factor.shape) for factor in factors] == [(8, 24), (32, 8)]
    change = parts["up"].flatten(1) @ parts["down"].flatten(1) / 2
    torch.testing.assert_close(factors[1] @ factors[0], change)
    assert LowRank(point, parts | {"mid": torch.randn(3, 3, 1, 1)}, 1.5).factors is None
