"""The rest of the zoo against diffusers: unconditional U-Nets, DDPM, ControlNet, first stages with
a codebook, the tiny autoencoder and the text transformer of latent diffusion.
"""

import re
from collections.abc import Callable

import pytest
import torch
from diffusers import ControlNetModel as PeerControlNet
from torch import Tensor, nn

from diffusion.networks.bert import BERTTransformer
from diffusion.networks.configs import (
    BERTConfig,
    ControlNetConfig,
    DDPMConfig,
    TinyVAEConfig,
    UNetConfig,
    VAEConfig,
)
from diffusion.networks.controlnet import ControlNet
from diffusion.networks.ddpm import DDPMUNet
from diffusion.networks.tiny import TinyDecoder, TinyEncoder
from diffusion.networks.unet import UNet
from diffusion.networks.vq import AutoencoderVQ
from tests.parity import twins
from tests.parity.twins import fill
from tests.thinning import thinned

PRECISIONS = [(torch.float64, 1e-10), (torch.float32, 2e-5)]
PLAIN = {
    "celebahq": UNetConfig(
        in_channels=3,
        out_channels=3,
        model_channels=32,
        channel_mult=(1, 2, 3),
        transformer_depth=(0, 1, 1),
        heads=None,
        head_dim=16,
        context_dim=None,
        attention="plain",
    ),
    "churches": UNetConfig(
        model_channels=32,
        channel_mult=(1, 2, 2),
        num_res_blocks=1,
        transformer_depth=(1, 1, 0),
        heads=None,
        head_dim=16,
        context_dim=None,
        attention="plain",
        scale_shift_norm=True,
        resblock_updown=True,
        norm_groups=16,
    ),
}
# Few groups: a norm over one channel alone would hide that channel's bias.
DDPM = DDPMConfig(
    model_channels=32,
    channel_mult=(1, 2, 2),
    num_res_blocks=2,
    attention=(False, True, False),
    norm_groups=8,
)
CONTROLS = {
    "sd1": ControlNetConfig(
        unet=UNetConfig(model_channels=32, context_dim=24, channel_mult=(1, 2, 2, 2), heads=4),
        hint_widths=(4, 8, 12, 16),
    ),
    "sdxl": ControlNetConfig(
        unet=UNetConfig(
            model_channels=32,
            context_dim=40,
            channel_mult=(1, 2, 2),
            transformer_depth=(0, 1, 2),
            middle_depth=2,
            heads=(1, 2, 4),
            linear_projection=True,
            added_dim=16 + 6 * 8,
            norm_groups=8,
        ),
        hint_channels=1,
        hint_widths=(4, 8, 12, 16),
    ),
    "sdxl small": ControlNetConfig(
        unet=UNetConfig(
            model_channels=32,
            context_dim=None,
            channel_mult=(1, 2, 2),
            transformer_depth=(0, 0, 0),
            middle_depth=0,
            heads=2,
            added_dim=16 + 6 * 8,
        ),
        hint_widths=(4, 8, 12, 16),
    ),
}
VQ = {
    "f4": VAEConfig(
        kind="vq",
        channels=32,
        channel_mult=(1, 2),
        num_res_blocks=1,
        z_channels=3,
        scaling_factor=1.0,
        codes=50,
    ),
    "attention, narrow codes": VAEConfig(
        kind="vq",
        channels=32,
        channel_mult=(1, 2),
        num_res_blocks=1,
        z_channels=8,
        embed_dim=4,
        attention=(False, True),
        scaling_factor=0.7,
        codes=50,
    ),
    "no attention": VAEConfig(
        kind="vq",
        channels=32,
        channel_mult=(1, 2),
        num_res_blocks=1,
        z_channels=3,
        middle_attention=False,
        scaling_factor=1.0,
        codes=50,
    ),
}


def relative(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize(("dtype", "bound"), PRECISIONS)
@pytest.mark.parametrize("name", PLAIN)
@torch.inference_mode()
def test_unconditional_unet_agrees_with_diffusers(
    name: str, dtype: torch.dtype, bound: float
) -> None:
    unet = UNet(PLAIN[name]).eval()
    fill(unet, seed=1)
    peer = twins.peer_plain_unet(unet).to(dtype)
    x = normal(2, PLAIN[name].in_channels, 8, 12, seed=2, dtype=dtype)
    timesteps = torch.tensor([1.0, 803.0])
    assert relative(unet.to(dtype)(x, timesteps), peer(x, timesteps).sample) < bound


@pytest.mark.parametrize(("dtype", "bound"), PRECISIONS)
@torch.inference_mode()
def test_ddpm_agrees_with_diffusers(dtype: torch.dtype, bound: float) -> None:
    unet = DDPMUNet(DDPM).eval()
    fill(unet, seed=1)
    peer = twins.peer_ddpm(unet).to(dtype)
    x = normal(2, 3, 8, 12, seed=2, dtype=dtype)
    timesteps = torch.tensor([0.0, 803.0])
    assert relative(unet.to(dtype)(x, timesteps), peer(x, timesteps).sample) < bound


@pytest.mark.parametrize(("dtype", "bound"), PRECISIONS)
@pytest.mark.parametrize("guess", [False, True])
@pytest.mark.parametrize("name", ["sd1", "sdxl"])
@torch.inference_mode()
def test_controlnet_and_the_unet_it_steers_agree_with_diffusers(
    name: str, guess: bool, dtype: torch.dtype, bound: float
) -> None:
    config = CONTROLS[name]
    control, unet = ControlNet(config).eval(), UNet(config.unet).eval()
    fill(control, seed=1)
    fill(unet, seed=2)
    peer, peer_unet = twins.peer_controlnet(control).to(dtype), twins.peer_unet(unet).to(dtype)
    # Odd sizes too: the residuals follow the skip connections.
    x = normal(2, 4, 10, 14, seed=3, dtype=dtype)
    hint = normal(2, config.hint_channels, 80, 112, seed=4, dtype=dtype).sigmoid()
    context = normal(2, 7, config.unet.context_dim or 1, seed=5, dtype=dtype)
    timesteps = torch.tensor([1.0, 803.0])
    added, extra = None, None
    if config.unet.added_dim:
        added, extra = added_pair(peer, dtype)
    theirs = peer(x, timesteps, context, hint, 0.7, added_cond_kwargs=extra, guess_mode=guess)
    expected = [*theirs.down_block_res_samples, theirs.mid_block_res_sample]
    ours = control.to(dtype)(x, hint, timesteps, context, added, scale=0.7, guess=guess)
    assert len(ours) == len(expected) == len(control.widths) + 1
    for a, b in zip(ours, expected, strict=True):
        assert relative(a, b) < bound
    steered = peer_unet(
        x,
        timesteps,
        context,
        added_cond_kwargs=extra,
        down_block_additional_residuals=expected[:-1],
        mid_block_additional_residual=expected[-1],
    ).sample
    unet.to(dtype)
    assert relative(unet(x, timesteps, context, added, control=ours), steered) < bound
    assert relative(unet(x, timesteps, context, added), steered) > 1e-3


@torch.inference_mode()
def test_a_controlnet_without_attention_agrees_with_diffusers() -> None:
    config = CONTROLS["sdxl small"]
    control = ControlNet(config).eval()
    fill(control, seed=1)
    peer = twins.peer_controlnet(control)
    x, hint = normal(2, 4, 8, 8, seed=3), normal(2, 3, 64, 64, seed=4).sigmoid()
    timesteps = torch.tensor([1.0, 803.0])
    added, extra = added_pair(peer, torch.float32)
    theirs = peer(x, timesteps, None, hint, added_cond_kwargs=extra)
    ours = control(x, hint, timesteps, None, added)
    expected = [*theirs.down_block_res_samples, theirs.mid_block_res_sample]
    assert max(relative(a, b) for a, b in zip(ours, expected, strict=True)) < 2e-5


def added_pair(peer: PeerControlNet, dtype: torch.dtype) -> tuple[Tensor, dict[str, Tensor]]:
    """The added vector as we take it, and as diffusers does."""
    pooled = normal(2, 16, seed=6, dtype=dtype)
    sizes = torch.tensor([[64.0, 48, 0, 0, 64, 48], [512, 512, 8, 4, 512, 512]]).to(dtype)
    flat = peer.add_time_proj(sizes.flatten()).reshape(2, -1).to(dtype)
    return torch.cat([pooled, flat], dim=-1), {"text_embeds": pooled, "time_ids": sizes}


@pytest.mark.parametrize(("dtype", "bound"), PRECISIONS)
@pytest.mark.parametrize("name", VQ)
@torch.inference_mode()
def test_vq_autoencoder_agrees_with_diffusers(name: str, dtype: torch.dtype, bound: float) -> None:
    config = VQ[name]
    vae = AutoencoderVQ(config).eval()
    fill(vae, seed=1)
    peer = twins.peer_vq(vae).to(dtype)
    vae.to(dtype)
    images = normal(2, 3, 12, 20, seed=2, dtype=dtype).tanh()
    latents = peer.encode(images).latents
    assert relative(vae.encode(images), latents * config.scaling_factor) < bound
    expected = peer.decode(latents).sample
    assert relative(vae.decode(latents * config.scaling_factor), expected) < bound


@pytest.mark.parametrize(("dtype", "bound"), PRECISIONS)
@torch.inference_mode()
def test_tiny_autoencoder_agrees_with_diffusers(dtype: torch.dtype, bound: float) -> None:
    config = TinyVAEConfig(width=8)
    encoder, decoder = TinyEncoder(config).eval(), TinyDecoder(config).eval()
    fill(encoder, seed=1)
    fill(decoder, seed=2)
    peer = twins.peer_tiny(encoder, decoder).to(dtype)
    images = normal(1, 3, 40, 24, seed=3, dtype=dtype).tanh()
    # Far outside of what the decoder lets through unchanged.
    latents = 4 * normal(1, 4, 5, 3, seed=4, dtype=dtype)
    assert relative(encoder.to(dtype)(images), peer.encode(images).latents) < bound
    assert relative(decoder.to(dtype)(latents), peer.decode(latents).sample) < bound


@pytest.mark.parametrize(("dtype", "bound"), PRECISIONS)
@torch.inference_mode()
def test_text_transformer_agrees_with_diffusers(dtype: torch.dtype, bound: float) -> None:
    bert = small_bert()
    peer = twins.peer_bert(bert).to(dtype)
    tokens = torch.tensor([[2, 17, 39, 3, 0, 0], [5, 5, 1, 8, 9, 3]])
    theirs = peer(tokens).last_hidden_state
    assert relative(bert.to(dtype)(tokens), theirs) < bound


def small_bert() -> BERTTransformer:
    # The heads together are narrower than the tokens, as in the original.
    bert = BERTTransformer(
        BERTConfig(
            vocab_size=40, width=24, layers=3, heads=4, head_dim=4, feed_forward=48, window=9
        )
    ).eval()
    fill(bert, seed=1)
    return bert


def unconditional() -> tuple[nn.Module, Callable[[], Tensor]]:
    unet = UNet(PLAIN["churches"])
    x, timesteps = normal(1, 4, 8, 8, seed=2), torch.tensor([500.0])
    return unet, lambda: unet(x, timesteps)


def pixels() -> tuple[nn.Module, Callable[[], Tensor]]:
    unet = DDPMUNet(DDPM)
    x, timesteps = normal(1, 3, 8, 8, seed=2), torch.tensor([500.0])
    return unet, lambda: unet(x, timesteps)


def hinted() -> tuple[nn.Module, Callable[[], Tensor]]:
    control = ControlNet(CONTROLS["sdxl"])
    x, hint = normal(1, 4, 8, 8, seed=2), normal(1, 1, 64, 64, seed=3)
    context, added = normal(1, 3, 40, seed=4), normal(1, 64, seed=5)
    timesteps = torch.tensor([500.0])
    return control, lambda: torch.cat(
        [residual.flatten() for residual in control(x, hint, timesteps, context, added)]
    )


def text() -> tuple[nn.Module, Callable[[], Tensor]]:
    bert = small_bert()
    tokens = torch.arange(9)[None]
    return bert, lambda: bert(tokens)


@pytest.mark.parametrize("make", thinned([text, unconditional, pixels, hinted], every=2))
@torch.inference_mode()
def test_every_weight_matters(make: Callable[[], tuple[nn.Module, Callable[[], Tensor]]]) -> None:
    """A tensor that could be wrong unnoticed would make the comparisons above worthless."""
    network, run = make()
    network.eval()
    fill(network, seed=3)
    before = run()
    generator = torch.Generator().manual_seed(4)
    for name, parameter in network.named_parameters():
        kept = parameter.clone()
        parameter.add_(torch.randn(parameter.shape, generator=generator))
        moved = float((run() - before).abs().max())
        parameter.copy_(kept)
        if name.endswith("attn_1.k.bias") or re.search(r"attn\.\d\.k\.bias", name):
            # The one exception, by its formula: softmax forgets what all keys have in common.
            assert moved < 1e-3
            continue
        assert moved > 1e-5, f"{name} changes nothing"
