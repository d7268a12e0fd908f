"""The autoencoder with a codebook (van den Oord et al. 2017; Esser et al. 2021): the first stage of
the early latent diffusion models.

Promises `encode` and `decode` as the one with a Gaussian latent has them. Diffusion runs on the
latents in front of the codebook, so decoding starts by looking up the nearest code (Rombach et al.
2022, section 3.1: the quantisation belongs to the decoder). Never knows diffusion.
"""

from typing import cast

import torch
from torch import Tensor, nn

from diffusion.networks.configs import VAEConfig
from diffusion.networks.vae import Autoencoder

# Positions compared with the whole codebook at once: 2048 x 16384 distances are 128 MiB.
_POSITIONS = 2048


class Codebook(nn.Module):
    """The vectors that a latent position can be."""

    def __init__(self, *, codes: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(codes, width)

    def indices(self, z: Tensor) -> Tensor:
        """Return the N x h x w numbers of the codes nearest to N x width x h x w latents."""
        exact = torch.promote_types(z.dtype, torch.float32)
        codes = self.embedding.weight.to(exact)
        # |z - e|^2 without |z|^2, which is the same for every code.
        lengths = codes.square().sum(dim=1)
        positions = z.movedim(1, -1).flatten(0, -2).to(exact)
        nearest = [
            torch.addmm(lengths, part, codes.T, alpha=-2).argmin(dim=1)
            for part in torch.split(positions, _POSITIONS)
        ]
        return torch.cat(nearest).view(z.shape[0], *z.shape[2:])

    def forward(self, z: Tensor) -> Tensor:
        """Replace every position of N x width x h x w latents by the nearest code."""
        return cast(Tensor, self.embedding(self.indices(z))).movedim(-1, 1).contiguous()


class AutoencoderVQ(Autoencoder):
    """The autoencoder of latent diffusion with a codebook."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__(config, moments=1)
        self.quantize = Codebook(codes=config.codes, width=config.latent_channels)

    def encode(self, images: Tensor, noise: Tensor | None = None) -> Tensor:
        """Map N x 3 x H x W pictures in [-1, 1] to N x z x h x w scaled latents, not quantised.

        There is no posterior to draw from: `noise` changes nothing.
        """
        return self.scaled(self.quant_conv(self.encoder(images)))

    def decode(self, latents: Tensor) -> Tensor:
        """Map N x z x h x w scaled latents to N x 3 x H x W pictures, about [-1, 1]."""
        codes = self.quantize(self.unscaled(latents))
        return cast(Tensor, self.decoder(self.post_quant_conv(codes)))
