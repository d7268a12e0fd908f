"""The first stage of a model that paints pixels: none."""

from torch import Tensor, nn

from diffusion.networks.configs import VAEConfig


class PixelSpace(nn.Module):
    """Stand where an autoencoder stands; pictures are their own latents (Ho et al. 2020)."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.config = VAEConfig(channel_mult=(1,), z_channels=channels, scaling_factor=1.0)

    def encode(self, images: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return N x 3 x H x W as it is; there is no posterior to draw from."""
        del noise
        return images

    def decode(self, latents: Tensor) -> Tensor:
        """Return N x 3 x H x W as it is."""
        return latents
