"""Recipes of the shipped model, by name: every number of a training run.

"cpu": two cores for two hours, what the first version was made with; "gpu": one accelerator for
twenty minutes; "tiny": a minute, for tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from diffusion.networks.configs import UNetConfig, VAEConfig
from diffusion.train.compose.composition import DEFAULT_MIX, Mix
from diffusion.train.denoiser import DenoiserRecipe
from diffusion.train.vae import VAERecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class EmojiPreset:
    """Everything that sizes one training run.

    styles, names: what the denoiser learns; vae_styles: what the autoencoder sees, all names;
    compositions: how many pictures are put together from the drawings, in which mix.
    """

    styles: tuple[str, ...]
    vae_styles: tuple[str, ...]
    names: str
    pixels: int
    vocabulary: int
    vae: VAERecipe
    unet: UNetConfig
    text_width: int
    text_layers: int
    window: int
    denoiser: DenoiserRecipe
    variants: int
    display_scale: int
    compositions: int = 0
    mix: Mix = DEFAULT_MIX


CPU: Final = EmojiPreset(
    styles=("3d", "twemoji"),
    vae_styles=("3d", "twemoji", "noto"),
    names="known",
    pixels=64,
    vocabulary=3000,
    vae=VAERecipe(
        config=VAEConfig(
            channels=64,
            channel_mult=(1, 2),
            num_res_blocks=1,
            z_channels=8,
            scaling_factor=1.0,
            patch_size=4,
        ),
        total_samples=42_000,
    ),
    unet=UNetConfig(
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
    text_width=192,
    text_layers=3,
    window=24,
    denoiser=DenoiserRecipe(batch=64, workers=2, total_samples=170_000, average_decay=0.999),
    variants=8,
    display_scale=4,
    compositions=16_000,
)

_ALL: Final = ("3d", "noto", "blob", "fluent flat", "twemoji", "emojitwo", "fxemoji", "streamline")
GPU: Final = EmojiPreset(
    styles=_ALL,
    vae_styles=_ALL,
    names="all",
    pixels=128,
    vocabulary=3000,
    vae=VAERecipe(
        config=VAEConfig(channels=32, num_res_blocks=1, z_channels=4, scaling_factor=1.0),
        batch=64,
        total_samples=600_000,
    ),
    unet=UNetConfig(
        in_channels=4,
        out_channels=4,
        model_channels=64,
        channel_mult=(1, 2, 4),
        num_res_blocks=1,
        transformer_depth=(0, 1, 1),
        heads=None,
        head_dim=32,
        context_dim=256,
    ),
    text_width=256,
    text_layers=4,
    window=77,
    denoiser=DenoiserRecipe(batch=1024, learning_rate=1e-3, total_samples=12_000_000),
    variants=8,
    display_scale=2,
    compositions=60_000,
)

TINY: Final = EmojiPreset(
    styles=("3d", "twemoji"),
    vae_styles=("3d", "twemoji"),
    names="all",
    pixels=32,
    vocabulary=600,
    vae=VAERecipe(
        config=VAEConfig(
            channels=32,
            channel_mult=(1, 1),
            num_res_blocks=1,
            z_channels=4,
            scaling_factor=1.0,
            patch_size=4,
        ),
        batch=8,
        total_samples=400,
        precision="float32",
    ),
    unet=UNetConfig(
        in_channels=4,
        out_channels=4,
        model_channels=32,
        channel_mult=(1, 2),
        num_res_blocks=1,
        transformer_depth=(0, 1),
        heads=None,
        head_dim=32,
        context_dim=32,
    ),
    text_width=32,
    text_layers=1,
    window=16,
    denoiser=DenoiserRecipe(batch=8, total_samples=960, precision="float32"),
    variants=2,
    display_scale=1,
)

PRESETS: Final[Mapping[str, EmojiPreset]] = {"cpu": CPU, "gpu": GPU, "tiny": TINY}
