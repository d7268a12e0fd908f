"""The samplers of k-diffusion that diffusers lacks or builds otherwise, as whole pictures.

k-diffusion's own functions are driven over diffusers' text encoder, U-Net and autoencoder. What
`k_diffusion.external` and AUTOMATIC1111's `CFGDenoiser` do around a network is written out below.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from typing import Final

import pytest
import torch
from torch import Tensor

from diffusion.noise import PictureNoise
from diffusion.plan import plan_for
from diffusion.schedules import NoiseSchedule
from tests.parity.cases import Case
from tests.parity.pipelines import model, system
from tests.parity.schedulers import SPACINGS, scheduler
from tests.parity.shots import SEED, Shot, difference, photo, white
from tests.parity.test_samplers_k import FUNCTIONS, sampling

# Our sampler, and the one of diffusers' whose levels it visits under a checkpoint's spacing.
FAMILIES: Final[Mapping[str, str]] = {"dpmpp_2s_a": "euler", "dpmpp_3m_sde": "dpmpp_3m_sde"}
BY_SIGMA: Final = ("karras", "exponential", "sgm_uniform", "simple")
# DPM++ multistep rounds or cuts the timesteps of these levels, as diffusers' does.
WHOLE: Final[Mapping[str, Callable[[float], float]]] = {
    "karras": round,
    # The highest level's timestep is whole but for float32's digits.
    "exponential": lambda t: math.floor(t + 1e-3),
}
LEVELS: Final = "k-diffusion over diffusers' networks; levels and start of diffusers' {}"
OWN_LEVELS: Final = "k-diffusion over diffusers' networks; its levels, or A1111's"
STARTS: Final = "; its start is A1111's with the SGM noise multiplier"
ASKED: Final = {
    "karras": "; told to quantize timesteps, as diffusers' DPM++ does",
    "exponential": "; its timesteps are cut to whole ones, as diffusers' DPM++ does",
}


class Network:
    """Stable Diffusion as k-diffusion calls it: the guided estimate of x0 at sigma.

    CompVisDenoiser: D = x - sigma eps(c_in x, t); CompVisVDenoiser: D = c_skip x + c_out v(c_in x,
    t), with c_in = 1 / sqrt(sigma^2 + 1), c_skip = c_in^2, c_out = -sigma c_in; t is found between
    the table's entries in log sigma. A1111 guides those estimates: D = D_neg + w (D_pos - D_neg).
    """

    def __init__(self, shot: Shot, prediction_type: str, whole: Callable[[float], float]) -> None:
        self.pipe, self.shot = system("sd1").pipeline, shot
        self.prediction_type, self.whole = prediction_type, whole
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        alphas = (1 - betas).cumprod(dim=0)
        self.sigmas = ((1 - alphas) / alphas) ** 0.5
        prompts = [[each] * shot.images for each in (shot.prompt, str(shot.negative_prompt))]
        self.contexts = torch.cat(
            self.pipe.encode_prompt(
                prompts[0],
                device="cpu",
                num_images_per_prompt=1,
                do_classifier_free_guidance=True,
                negative_prompt=prompts[1],
            )
        )

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        level = float(sigma[0])
        c_in = 1 / math.sqrt(level**2 + 1)
        t = torch.tensor(self.whole(self.timestep(level)))
        seen = torch.cat([x * c_in] * 2)
        output = self.pipe.unet(seen, t, encoder_hidden_states=self.contexts).sample
        positive, negative = (self.denoised(x, half, level) for half in output.chunk(2))
        return negative + self.shot.guidance_scale * (positive - negative)

    def denoised(self, x: Tensor, output: Tensor, sigma: float) -> Tensor:
        if self.prediction_type == "epsilon":
            return x - output * sigma
        return x / (sigma**2 + 1) - output * (sigma / math.sqrt(sigma**2 + 1))

    def timestep(self, sigma: float) -> float:
        """Return DiscreteSchedule.sigma_to_t, unquantized."""
        logs, log = self.sigmas.log(), math.log(sigma)
        below = min(max(int((logs <= log).sum()) - 1, 0), len(logs) - 2)
        low, high = float(logs[below]), float(logs[below + 1])
        return below + min(max((log - low) / (high - low), 0.0), 1.0)

    def level(self, timestep: float) -> float:
        """Return DiscreteSchedule.t_to_sigma."""
        logs, below = self.sigmas.log(), min(int(timestep), len(self.sigmas) - 2)
        part = timestep - below
        return math.exp((1 - part) * float(logs[below]) + part * float(logs[below + 1]))

    def levels(self, sampler: str, spacing: str, steps: int) -> Tensor:
        """Return N + 1 levels: k-diffusion's, A1111's, or diffusers' of its Euler or DPM++."""
        if spacing in SPACINGS:
            told = scheduler(FAMILIES[sampler], spacing=spacing)
            with warnings.catch_warnings():
                # Its own calls of numpy.
                warnings.simplefilter("ignore")
                told.set_timesteps(steps)
            return torch.as_tensor(told.sigmas).double()
        ends = float(self.sigmas[0]), float(self.sigmas[-1])
        if spacing in ("karras", "exponential"):
            made = getattr(sampling(), f"get_sigmas_{spacing}")(steps, *ends)
            return torch.as_tensor(made)
        if spacing == "sgm_uniform":
            inner = [self.level(999 * (1 - i / steps)) for i in range(steps)]
        else:
            inner = [float(self.sigmas[-(1 + int(i * 1000 / steps))]) for i in range(steps)]
        return torch.tensor([*inner, 0.0], dtype=torch.float64)

    def decode(self, latents: Tensor) -> Tensor:
        latents = latents.float() / self.pipe.vae.config.scaling_factor
        images = self.pipe.vae.decode(latents).sample
        return torch.as_tensor(images / 2 + 0.5).clamp(0, 1)

    def encode(self, images: Tensor, generators: list[torch.Generator]) -> Tensor:
        """Draw from the posterior of the same picture for every generator."""
        posterior = self.pipe.vae.encode(images).latent_dist
        drawn = [posterior.sample(generator) for generator in generators]
        return torch.cat(drawn) * float(self.pipe.vae.config.scaling_factor)


def painted(
    sampler: str, spacing: str, prediction_type: str, steps: int, strength: float | None
) -> float:
    """Compare a picture, from noise or from a picture."""
    if find_spec("k_diffusion") is None:
        pytest.skip("k-diffusion is not installed")
    shot = Shot(
        sampler=sampler,
        steps=steps,
        schedule=spacing,
        strength=strength,
        starts_white=strength is None,
    )
    # A start of sigma times noise, as A1111's, goes with every spacing but leading.
    own = spacing if spacing in SPACINGS else "linspace"
    schedule = NoiseSchedule(prediction_type=prediction_type, timestep_spacing=own)
    ours = replace(model("sd1", "folder"), noise_schedule=schedule)
    run = round(steps * (strength or 1))
    with torch.inference_mode():
        whole = WHOLE.get(spacing, float) if sampler == "dpmpp_3m_sde" else float
        network = Network(shot, prediction_type, whole)
        sigmas = network.levels(sampler, spacing, steps)[-run - 1 :]
        shape = ours.latent_shape(shot.width, shot.height)
        noises = [PictureNoise(shape, seed=SEED + i) for i in range(shot.images)]
        start = white(shot, ours)
        if start is None:
            image = network.pipe.image_processor.preprocess(photo(shot.width, shot.height))
            latents = network.encode(image, [each.generator for each in noises])
            x = latents + torch.stack([each() for each in noises]) * sigmas[0]
        else:
            multiplied = sampler == "dpmpp_3m_sde" or spacing == "leading"
            x = start * (sigmas[0] ** 2 + 1).sqrt() if multiplied else start * sigmas[0]
        exact = plan_for(ours, shot.params(), has_image=strength is not None).sigmas
        visited = pairwise(exact)

        def draw(*found: Tensor) -> Tensor:
            sigma, sigma_next = next(visited)
            # Of float32's digits, four at the lowest level, a Brownian path would notice.
            assert [float(each) for each in found] == pytest.approx([sigma, sigma_next], rel=1e-4)
            if sampler == "dpmpp_2s_a":
                return torch.stack([each() for each in noises])
            return torch.stack([each.between(sigma, sigma_next) for each in noises])

        function = getattr(sampling(), FUNCTIONS[sampler])
        wanted = network.decode(function(network, x, sigmas, disable=True, noise_sampler=draw))
    return difference(shot, ours, wanted)


def cases() -> Iterator[Case]:
    """Return them all; by default each spacing and prediction with one of the two."""
    for sampler, other in FAMILIES.items():
        for number, spacing in enumerate((*SPACINGS, *BY_SIGMA)):
            for prediction in ("epsilon", "v_prediction"):
                first = (number + (prediction == "epsilon")) % 2 == 0
                yield _case(sampler, spacing, prediction, 4, slow=first == (other == "euler"))
            yield _case(sampler, spacing, "epsilon", 10, slow=True)
        for strength in (0.5, 0.8):
            yield _case(sampler, "karras", "epsilon", 10, strength, slow=strength == 0.8)


def _case(
    sampler: str,
    spacing: str,
    prediction: str,
    steps: int,
    strength: float | None = None,
    *,
    slow: bool,
) -> Case:
    family = "Euler" if sampler == "dpmpp_2s_a" else "DPM++"
    note = LEVELS.format(family) if spacing in SPACINGS else OWN_LEVELS
    if sampler == "dpmpp_3m_sde":
        note += ASKED.get(spacing, "")
        if spacing in BY_SIGMA and strength is None:
            note += STARTS
    start = "" if strength is None else f"image to image, strength {strength}, "
    return Case(
        family="sd1",
        layout="folder",
        what=f"{start}{sampler} of k-diffusion, {prediction}, {spacing}, {steps} steps",
        measure=partial(painted, sampler, spacing, prediction, steps, strength),
        note=note,
        slow=slow,
    )
