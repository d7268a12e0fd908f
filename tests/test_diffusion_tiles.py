"""Autoencoding in tiles: exact where it can be, seamless where it cannot."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from diffusion.networks.configs import VAEConfig
from diffusion.networks.convolution import Conv2d, borders
from diffusion.networks.vae import AutoencoderKL
from diffusion.tiles import decode_tiled, encode_tiled
from tests.parity.twins import fill


def local(latents: Tensor) -> Tensor:
    """A decoder that sees one position at a time: 4 channels to 3, four times as large."""
    return functional.interpolate(latents[:, :3].tanh(), scale_factor=4.0, mode="nearest")


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("seamless", [False, True])
@pytest.mark.parametrize(("tile", "overlap"), [(5, 2), (8, 0), (8, 3), (16, 4), (7, 1)])
@pytest.mark.parametrize("size", [(17, 12), (5, 31), (16, 16)])
def test_a_local_decoder_is_exact(
    size: tuple[int, int], tile: int, overlap: int, seamless: bool
) -> None:
    latents = noise(2, 4, *size)
    tiled = decode_tiled(local, latents, tile=tile, overlap=overlap, seamless=seamless)
    assert tiled.shape == (2, 3, size[0] * 4, size[1] * 4)
    assert (tiled - local(latents)).abs().max() < 1e-6


def test_no_call_sees_more_than_a_tile_and_one_tile_is_one_call() -> None:
    seen: list[tuple[int, ...]] = []

    def watching(latents: Tensor) -> Tensor:
        seen.append(tuple(latents.shape))
        return local(latents)

    decode_tiled(watching, noise(1, 4, 40, 9), tile=8, overlap=2)
    assert {shape[2:] for shape in seen} == {(8, 8)}
    seen.clear()
    decode_tiled(watching, noise(1, 4, 8, 8), tile=8, overlap=2)
    assert seen == [(1, 4, 8, 8)]


@torch.inference_mode()
def test_a_real_decoder_has_no_visible_seams() -> None:
    torch.manual_seed(0)
    vae = AutoencoderKL(VAEConfig(channels=32, channel_mult=(1, 2), num_res_blocks=1)).eval()
    fill(vae, seed=2)
    latents = noise(1, 4, 40, 48) * 0.18215
    whole = vae.decode(latents)
    tiled = decode_tiled(vae.decode, latents, tile=32, overlap=12)
    spread = float(whole.std())
    assert float((tiled - whole).abs().mean()) < 0.1 * spread
    # The step from one row or column to the next is nowhere larger than the picture's own.
    for axis, others in ((-1, (0, 1, 2)), (-2, (0, 1, 3))):
        own = whole.diff(dim=axis).abs().mean(dim=others)
        steps = tiled.diff(dim=axis).abs().mean(dim=others)
        assert float((steps / own).max()) < 1.06
    plain = decode_tiled(vae.decode, latents, tile=48, overlap=12)
    assert torch.equal(plain, whole)


class Convolutional(torch.nn.Module):
    """Two convolutions: sees two positions far, so an overlap of three hides its edges."""

    def __init__(self) -> None:
        super().__init__()
        self.one = Conv2d(4, 8, 3, padding=1)
        self.two = Conv2d(8, 3, 3, padding=1)
        fill(self, seed=3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.two(self.one(x).tanh()))


@torch.inference_mode()
def test_seamless_tiles_meet_at_the_borders() -> None:
    network, latents = Convolutional(), noise(1, 4, 30, 22)
    with borders(seamless=True):
        whole = network(latents)
        tiled = decode_tiled(network, latents, tile=12, overlap=5, seamless=True)
        alone = decode_tiled(network, latents, tile=30, overlap=5, seamless=True)
    assert torch.equal(alone, whole)
    rolled = decode_tiled(
        network, latents.roll((15, 11), (2, 3)), tile=12, overlap=5, seamless=True
    ).roll((-15, -11), (2, 3))
    # Where the border was is now the middle: both must agree with the network that wraps.
    for each in (tiled, rolled):
        assert float((each - whole).abs().mean()) < 0.06 * float(whole.std())
    edge = float((tiled[..., 0] - whole[..., 0]).abs().max())
    without = decode_tiled(network, latents, tile=12, overlap=5)
    assert edge < 0.5 * float((without[..., 0] - whole[..., 0]).abs().max())


def test_encoding_tiles_counts_latents() -> None:
    def encode(images: Tensor) -> Tensor:
        return functional.avg_pool2d(images, 8)

    images = noise(2, 3, 96, 136)
    tiled = encode_tiled(encode, images, downscale=8, tile=6, overlap=2)
    assert tiled.shape == (2, 3, 12, 17)
    assert (tiled - encode(images)).abs().max() < 1e-6
    with pytest.raises(ValueError, match="8 x 8 blocks"):
        encode_tiled(encode, images[..., :-1], downscale=8, tile=6, overlap=2)


def test_precision_is_the_decoders() -> None:
    latents = noise(1, 4, 20, 20).half()
    assert decode_tiled(local, latents, tile=8, overlap=2).dtype == torch.float16


@pytest.mark.parametrize(("tile", "overlap"), [(0, 0), (8, 4), (8, -1)])
def test_tiles_that_cannot_be(tile: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="less than half"):
        decode_tiled(local, noise(1, 4, 9, 9), tile=tile, overlap=overlap)
