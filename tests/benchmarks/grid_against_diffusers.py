"""The same grid by Easel's engine and by diffusers, in turn, in one process: a ratio, not seconds.

Same weights, prompt, noise, sampler (DPM++ 2M, Karras) and steps; text encoding, denoising and
decoding on both sides. Run: python -m tests.benchmarks.grid_against_diffusers [pairs] [threads]
"""

import statistics
import sys
import time
from itertools import pairwise

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler
from PIL import Image
from rich.console import Console

from diffusion import Params, generate
from diffusion.loading import load_model
from diffusion.model import Model
from diffusion.networks.unet import UNet
from diffusion.networks.vae import AutoencoderKL
from diffusion.pixels import pictures_from
from diffusion.train.run import native_params
from tests.parity.twins import peer_unet, peer_vae


class Peer:
    """diffusers' networks and scheduler with our weights, in the order its own pipeline has."""

    def __init__(self, model: Model) -> None:
        self.model = model
        if not isinstance(model.backbone, UNet) or not isinstance(model.vae, AutoencoderKL):
            raise TypeError("the shipped model is a U-Net behind an autoencoder")
        self.unet = peer_unet(model.backbone)
        self.vae = peer_vae(model.vae)

    @torch.inference_mode()
    def paint(self, params: Params, noise: torch.Tensor) -> list[Image.Image]:
        """Paint the pictures of a job."""
        schedule = self.model.noise_schedule
        alphas = np.array(schedule.alphas_cumprod)
        betas = 1 - alphas / np.concatenate([[1.0], alphas[:-1]])
        scheduler = DPMSolverMultistepScheduler(
            trained_betas=betas, prediction_type="v_prediction", use_karras_sigmas=True
        )
        scheduler.set_timesteps(params.steps)
        context = self.model.encode_prompts([params.negative_prompt, params.prompt]).context
        context = context.repeat_interleave(len(noise), dim=0)
        latents = noise * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            both = scheduler.scale_model_input(torch.cat([latents, latents]), t)
            negative, positive = self.unet(both, t, context).sample.chunk(2)
            output = negative + params.guidance_scale * (positive - negative)
            latents = scheduler.step(output, t, latents).prev_sample
        config = self.model.vae.config
        images = self.vae.decode(latents / config.scaling_factor).sample
        return pictures_from(torch.nn.functional.pixel_shuffle(images, config.patch_size))


def ours(model: Model, params: Params) -> list[Image.Image]:
    """Paint the same with Easel."""
    *_, last = generate(model, params)
    return list(last.pictures or ())


def main(pairs: int = 10, threads: int | None = None) -> None:
    """Time both in turn and print the ratio pair by pair."""
    if threads:
        torch.set_num_threads(threads)
    model = load_model("emoji")
    peer = Peer(model)
    params = native_params(model, "red heart", seed=1)
    shape = model.latent_shape(params.width, params.height)
    noise = torch.stack(
        [torch.randn(shape, generator=torch.Generator().manual_seed(1 + i)) for i in range(4)]
    )
    # A warm-up of both, which also shows that both paint the same.
    first, second = ours(model, params), peer.paint(params, noise)
    apart = max(
        float(np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).mean())
        for a, b in zip(first, second, strict=True)
    )
    ratios, marks = [], []
    for _ in range(pairs):
        marks = [time.perf_counter()]
        ours(model, params)
        marks.append(time.perf_counter())
        peer.paint(params, noise)
        marks.append(time.perf_counter())
        mine, theirs = (b - a for a, b in pairwise(marks))
        ratios.append(mine / theirs)
    console = Console(highlight=False)
    console.print(f"mean difference of the pictures: {apart:.2f} of 255")
    console.print(
        f"Easel / diffusers, {pairs} pairs, {torch.get_num_threads()} threads: "
        f"median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}"
    )


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
