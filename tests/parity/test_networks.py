"""Our networks against diffusers': the same weights must give the same numbers, in every variant of
the family.
"""

import pytest
import torch
from diffusers import LatentConsistencyModelPipeline
from torch import Tensor

from diffusion.networks.configs import UNetConfig, VAEConfig
from diffusion.networks.unet import UNet
from diffusion.networks.vae import AutoencoderKL
from tests.parity.twins import fill, peer_unet, peer_vae
from tests.thinning import thinned

UNETS = {
    "sd1": UNetConfig(model_channels=32, context_dim=24, channel_mult=(1, 2, 2, 2), heads=4),
    "sd2": UNetConfig(
        model_channels=64,
        context_dim=40,
        channel_mult=(1, 2, 2, 2),
        heads=None,
        head_dim=32,
        linear_projection=True,
    ),
    "sdxl": UNetConfig(
        model_channels=32,
        context_dim=40,
        channel_mult=(1, 2, 2),
        transformer_depth=(0, 1, 2),
        middle_depth=2,
        heads=None,
        head_dim=32,
        linear_projection=True,
        added_dim=16 + 6 * 8,
    ),
    "inpainting": UNetConfig(
        in_channels=9,
        model_channels=32,
        context_dim=24,
        channel_mult=(1, 2),
        transformer_depth=(1, 0),
        heads=2,
    ),
    "emoji": UNetConfig(
        in_channels=8,
        out_channels=8,
        model_channels=96,
        channel_mult=(1, 2),
        num_res_blocks=1,
        transformer_depth=(1, 1),
        heads=None,
        head_dim=32,
        context_dim=192,
    ),
    "heads a level": UNetConfig(
        model_channels=32,
        context_dim=24,
        channel_mult=(1, 2),
        transformer_depth=(1, 1),
        heads=(2, 4),
        norm_groups=16,
        upcast_attention=True,
    ),
    "guided": UNetConfig(
        model_channels=32,
        context_dim=24,
        channel_mult=(1, 2),
        transformer_depth=(1, 0),
        heads=2,
        guidance_dim=16,
    ),
    "classes": UNetConfig(
        in_channels=7,
        model_channels=32,
        context_dim=24,
        channel_mult=(1, 2),
        transformer_depth=(0, 1),
        heads=2,
        num_classes=20,
    ),
    "no attention in the middle": UNetConfig(
        model_channels=32,
        context_dim=24,
        channel_mult=(1, 2),
        transformer_depth=(1, 0),
        middle_depth=0,
        heads=2,
    ),
}
VAES = {
    "kl": VAEConfig(channels=32, channel_mult=(1, 2, 2)),
    "light stem": VAEConfig(channels=32, channel_mult=(1, 2, 2), patch_size=2),
    "attention": VAEConfig(
        channels=32,
        channel_mult=(1, 2),
        num_res_blocks=1,
        attention=(False, True),
        z_channels=16,
        embed_dim=6,
        norm_groups=16,
    ),
    "bare": VAEConfig(
        channels=32,
        channel_mult=(1, 2),
        num_res_blocks=1,
        middle_attention=False,
        quant_convs=False,
        scaling_factor=0.5,
        latents_mean=(0.1, -0.2, 0.3, 0.4),
        latents_std=(1.1, 0.9, 1.3, 0.7),
    ),
}


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize(
    ("dtype", "bound"), thinned([(torch.float64, 1e-10), (torch.float32, 2e-5)], every=2)
)
@pytest.mark.parametrize("name", UNETS)
@torch.inference_mode()
def test_unet_agrees_with_diffusers(name: str, dtype: torch.dtype, bound: float) -> None:
    config = UNETS[name]
    unet = UNet(config).eval()
    fill(unet, seed=3)
    peer = peer_unet(unet).to(dtype)
    unet.to(dtype)
    generator = torch.Generator().manual_seed(4)
    # Odd sizes: the way back up must end at the size of each skip connection.
    x = torch.randn(2, config.in_channels, 10, 14, generator=generator).to(dtype)
    context = torch.randn(2, 7, config.context_dim or 0, generator=generator).to(dtype)
    timesteps = torch.tensor([1.0, 803.5])
    added, extra = None, None
    if config.added_dim:
        pooled = torch.randn(2, 16, generator=generator).to(dtype)
        sizes = torch.tensor([[64.0, 48, 0, 0, 64, 48], [512, 512, 8, 4, 512, 512]])
        extra = {"text_embeds": pooled, "time_ids": sizes.to(dtype)}
        flat = peer.add_time_proj(sizes.flatten()).reshape(2, -1).to(dtype)
        added = torch.cat([pooled, flat], dim=-1)
    guidance, classes = None, None
    embedded = None
    if config.guidance_dim:
        guidance = torch.tensor([1.5, 7.5])
        embedded = LatentConsistencyModelPipeline.get_guidance_scale_embedding(
            None, guidance, embedding_dim=config.guidance_dim
        ).to(dtype)
    if config.num_classes:
        added = classes = torch.tensor([3, 19])
    theirs = peer(
        x,
        timesteps,
        context,
        timestep_cond=embedded,
        class_labels=classes,
        added_cond_kwargs=extra,
    ).sample
    ours = unet(x, timesteps, context, added, guidance=guidance)
    assert ours.shape == theirs.shape
    # Angles of guidance are thousands in float32, where the last digit counts.
    assert relative(ours, theirs) < (1e-5 if config.guidance_dim else bound)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 2e-5)])
@pytest.mark.parametrize("name", VAES)
@torch.inference_mode()
def test_vae_agrees_with_diffusers(name: str, dtype: torch.dtype, bound: float) -> None:
    config = VAES[name]
    patch = config.patch_size
    vae = AutoencoderKL(config).eval()
    fill(vae, seed=5)
    peer = peer_vae(vae).to(dtype)
    vae.to(dtype)
    mean, std = (
        torch.tensor(values or (default,) * config.latent_channels, dtype=dtype)[:, None, None]
        for values, default in ((config.latents_mean, 0.0), (config.latents_std, 1.0))
    )
    generator = torch.Generator().manual_seed(6)
    images = torch.rand(1, 3, 24 * patch, 16 * patch, generator=generator).to(dtype) * 2 - 1
    posterior = peer.encode(torch.nn.functional.pixel_unshuffle(images, patch)).latent_dist
    theirs = (posterior.mode() - mean) * config.scaling_factor / std
    assert theirs.shape[1] == config.latent_channels
    assert relative(vae.encode(images), theirs) < bound
    noise = torch.randn(theirs.shape, generator=generator).to(dtype)
    drawn = (posterior.mean + posterior.std * noise - mean) * config.scaling_factor / std
    assert relative(vae.encode(images, noise), drawn) < bound
    decoded = peer.decode(theirs * std / config.scaling_factor + mean).sample
    assert relative(vae.decode(theirs), torch.nn.functional.pixel_shuffle(decoded, patch)) < bound


@pytest.mark.slow
@torch.inference_mode()
def test_every_weight_of_the_unet_matters() -> None:
    """A tensor that could be wrong unnoticed would make the comparison above worthless."""
    unet = UNet(UNETS["emoji"]).eval()
    fill(unet, seed=3)
    x, context = torch.randn(1, 8, 8, 8), torch.randn(1, 4, 192)
    before = unet(x, torch.tensor([500.0]), context)
    for name, parameter in unet.named_parameters():
        kept = parameter.clone()
        parameter.add_(torch.randn_like(parameter))
        moved = float((unet(x, torch.tensor([500.0]), context) - before).abs().max())
        parameter.copy_(kept)
        assert moved > 1e-4, f"{name} changes nothing"
