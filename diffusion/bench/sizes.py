"""The published architectures that are measured with random weights, as numbers.

Promises: never imports torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from diffusion.networks.configs import TextConfig, UNetConfig, VAEConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """One published architecture. `latent`: its own side in latent positions; `small`: what a CPU
    is given instead.
    """

    title: str
    family: str
    unet: UNetConfig
    vae: VAEConfig
    texts: tuple[TextConfig, ...]
    latent: int
    small: int
    steps: int
    prediction: str = "epsilon"

    @property
    def multiple(self) -> int:
        """Pixels that sides are multiples of, so that every level of the network is even."""
        return max(8, self.vae.downscale << (len(self.unet.channel_mult) - 1))


_OPEN: Final = TextConfig(
    width=1024, layers=23, heads=16, feed_forward=4096, activation="gelu", pad_id=0
)
_XL_FIRST: Final = TextConfig(skip=1, final_norm=False)
_XL_SECOND: Final = TextConfig(
    width=1280,
    layers=32,
    heads=20,
    feed_forward=5120,
    activation="gelu",
    pad_id=0,
    skip=1,
    final_norm=False,
    projection_dim=1280,
)
_SD15: Final = Sizes(
    title="SD 1.5",
    family="sd1",
    unet=UNetConfig(),
    vae=VAEConfig(),
    texts=(TextConfig(),),
    latent=64,
    small=16,
    steps=20,
)
_SD21: Final = Sizes(
    title="SD 2.1",
    family="sd2",
    unet=UNetConfig(heads=None, head_dim=64, context_dim=1024, linear_projection=True),
    vae=VAEConfig(),
    texts=(_OPEN,),
    latent=96,
    small=16,
    steps=20,
    prediction="v_prediction",
)
_SDXL: Final = Sizes(
    title="SDXL",
    family="sdxl",
    unet=UNetConfig(
        channel_mult=(1, 2, 4),
        transformer_depth=(0, 2, 10),
        middle_depth=10,
        heads=None,
        head_dim=64,
        context_dim=2048,
        linear_projection=True,
        added_dim=1280 + 6 * 256,
    ),
    vae=VAEConfig(scaling_factor=0.13025),
    texts=(_XL_FIRST, _XL_SECOND),
    latent=128,
    small=16,
    steps=30,
)
_TINY_VAE: Final = VAEConfig(channels=32, channel_mult=(1, 2), num_res_blocks=1)
_TINY_TEXT: Final = TextConfig(width=64, layers=2, heads=1, feed_forward=128)
_TINY15: Final = replace(
    _SD15,
    title="tiny SD 1.5",
    unet=UNetConfig(
        model_channels=32, channel_mult=(1, 2), transformer_depth=(1, 0), context_dim=64
    ),
    vae=_TINY_VAE,
    texts=(_TINY_TEXT,),
    latent=8,
    small=8,
    steps=3,
)
_TINYXL: Final = replace(
    _SDXL,
    title="tiny SDXL",
    unet=UNetConfig(
        model_channels=64,
        channel_mult=(1, 2),
        transformer_depth=(0, 2),
        middle_depth=2,
        heads=None,
        head_dim=64,
        context_dim=128,
        linear_projection=True,
        added_dim=64 + 6 * 256,
    ),
    vae=replace(_TINY_VAE, scaling_factor=0.13025),
    texts=(
        replace(_TINY_TEXT, skip=1, final_norm=False),
        replace(_TINY_TEXT, skip=1, final_norm=False, activation="gelu", projection_dim=64),
    ),
    latent=8,
    small=8,
    steps=3,
)
SIZES: Final[Mapping[str, Sizes]] = {
    "sd15": _SD15,
    "sd21": _SD21,
    "sdxl": _SDXL,
    "tiny-sd15": _TINY15,
    "tiny-sdxl": _TINYXL,
}
