"""What a U-Net refuses, and what no reference can show."""

import pytest
import torch

from diffusion.networks.configs import UNetConfig
from diffusion.networks.unet import UNet
from tests.parity.twins import fill

SMALL = {
    "model_channels": 32,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "transformer_depth": (1, 0),
    "heads": 2,
}
TEXT = UNetConfig(context_dim=8, **SMALL)  # type: ignore[arg-type]
PLAIN = UNetConfig(context_dim=None, attention="plain", **SMALL)  # type: ignore[arg-type]
GUIDED = UNetConfig(context_dim=8, guidance_dim=16, **SMALL)  # type: ignore[arg-type]
CLASSES = UNetConfig(context_dim=8, num_classes=5, **SMALL)  # type: ignore[arg-type]
X, TIME, CONTEXT = torch.zeros(1, 4, 6, 6), torch.tensor([5.0]), torch.zeros(1, 3, 8)


def test_a_context_is_given_exactly_when_there_is_something_to_look_at_it() -> None:
    with pytest.raises(ValueError, match=r"needs a context \(8\), and got none"):
        UNet(TEXT)(X, TIME)
    with pytest.raises(ValueError, match=r"takes no context, and got one of shape \(1, 3, 8\)"):
        UNet(PLAIN)(X, TIME, CONTEXT)


def test_guidance_and_added_vectors_are_refused_by_those_who_cannot_use_them() -> None:
    with pytest.raises(ValueError, match="needs a guidance scale"):
        UNet(GUIDED)(X, TIME, CONTEXT)
    with pytest.raises(ValueError, match="takes no guidance scale"):
        UNet(TEXT)(X, TIME, CONTEXT, guidance=torch.tensor([7.5]))
    with pytest.raises(ValueError, match="takes no added vector or class"):
        UNet(TEXT)(X, TIME, CONTEXT, torch.zeros(1, 9))


def test_a_configuration_that_contradicts_itself_builds_nothing() -> None:
    with pytest.raises(ValueError, match="not both"):
        UNet(UNetConfig(context_dim=8, num_classes=5, added_dim=9, **SMALL))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs a context_dim"):
        UNet(UNetConfig(context_dim=None, **SMALL))  # type: ignore[arg-type]


def test_a_foreign_controlnet_is_named() -> None:
    with pytest.raises(ValueError, match="takes 4 control residuals and one for the middle"):
        UNet(TEXT)(X, TIME, CONTEXT, control=[X, X])


@torch.inference_mode()
def test_classes_come_as_numbers_of_any_type_and_shape() -> None:
    unet = UNet(CLASSES).eval()
    fill(unet, seed=1)
    first = unet(X, TIME, CONTEXT, torch.tensor([3]))
    assert torch.equal(first, unet(X, TIME, CONTEXT, torch.tensor([[3.0]])))
    assert not torch.equal(first, unet(X, TIME, CONTEXT, torch.tensor([4])))


@torch.inference_mode()
def test_resolution_changed_inside_blocks_comes_back_to_odd_sizes() -> None:
    config = UNetConfig(
        context_dim=None,
        attention="plain",
        resblock_updown=True,
        **SMALL,  # type: ignore[arg-type]
    )
    assert UNet(config)(torch.zeros(1, 4, 7, 5), TIME).shape == (1, 4, 7, 5)


@torch.inference_mode()
def test_residuals_of_zero_change_nothing() -> None:
    unet = UNet(TEXT).eval()
    fill(unet, seed=1)
    shapes = [(32, 6), (32, 6), (32, 3), (64, 3), (64, 3)]
    zeros = [torch.zeros(1, width, size, size) for width, size in shapes]
    assert torch.equal(unet(X, TIME, CONTEXT), unet(X, TIME, CONTEXT, control=zeros))
    for place in range(5):
        moved = [z + (index == place) for index, z in enumerate(zeros)]
        assert not torch.equal(unet(X, TIME, CONTEXT), unet(X, TIME, CONTEXT, control=moved))
