"""The peer: diffusers' networks and samplers with our very weights, in its pipelines' order.

Promises: diffusers is imported only by the functions here that run it, and its absence is told in a
sentence; the weights are shared, not copied, unless the device wants another memory layout. Its
settings are the best that its documentation names for the device: eager float32 on a CPU; on CUDA
half precision, scaled dot product attention (its default) and channels_last, and where asked for
its repeated blocks compiled.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor

from diffusion.bench.errors import BenchError
from diffusion.bench.twins import parts_of, unet_sizes, unet_weights, vae_sizes, vae_weights
from diffusion.model import Model
from diffusion.params import Params
from diffusion.pixels import pictures_from

# Our samplers that the peer has, and what its class is told to be that sampler.
_SCHEDULERS: Final[Mapping[str, tuple[str, Mapping[str, object]]]] = MappingProxyType(
    {
        "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
        "euler": ("EulerDiscreteScheduler", {}),
        "ddim": ("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
    }
)
SAMPLERS: Final = tuple(_SCHEDULERS)
Seen = Callable[[Callable[[], Image.Image]], None]


def diffusers() -> Any:  # noqa: ANN401 - a foreign module without annotations
    """Import the peer; BenchError, one sentence, when it is not installed."""
    try:
        # Its own lazy imports warn about one another's versions.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import diffusers as found
    except ImportError as error:
        raise BenchError(
            "the peer is not installed: pip install diffusers (it is only measured against)"
        ) from error
    found.utils.logging.set_verbosity_error()
    found.utils.logging.disable_progress_bar()
    return found


def import_everything() -> None:
    """Import what `Peer` uses, lazily loaded parts included, so that nothing is measured of it."""
    peer = diffusers()
    with quiet():
        for name in (
            "UNet2DConditionModel",
            "AutoencoderKL",
            *(n for n, _ in _SCHEDULERS.values()),
        ):
            getattr(peer, name)


class Peer:
    """diffusers' U-Net, autoencoder and samplers over a model's own weights.

    `compiled`: its repeated blocks are compiled, which its documentation advises on CUDA. Raises
    BenchError without diffusers, TypeError for a model that is no U-Net behind an autoencoder.
    """

    def __init__(self, model: Model, *, compiled: bool = False) -> None:
        peer = diffusers()
        self.model = model
        unet, vae = parts_of(model.backbone, model.vae)
        with torch.device("meta"), quiet():
            self.unet: Any = peer.UNet2DConditionModel(**unet_sizes(unet.config))
            self.vae: Any = peer.AutoencoderKL(**vae_sizes(vae.config))
        self.unet.load_state_dict(unet_weights(unet), strict=True, assign=True)
        self.vae.load_state_dict(vae_weights(vae), strict=True, assign=True)
        for network in (self.unet, self.vae):
            network.eval().requires_grad_(False)
            if model.device.type == "cuda":
                network.to(memory_format=torch.channels_last)
        if compiled:
            self.unet.compile_repeated_blocks(fullgraph=True)

    @torch.inference_mode()
    def paint(
        self, params: Params, noise: Tensor | None = None, seen: Seen | None = None
    ) -> list[Image.Image]:
        """Paint the pictures of a job, guided, as the pipelines do.

        `noise` (images x C x h x w) replaces the seeds' own. `seen` is handed what draws a preview
        after the first step.
        """
        model = self.model
        scheduler = self.scheduler(params)
        with quiet():
            scheduler.set_timesteps(params.steps, device=model.device)
        context, extra = self._conditions(params)
        start = job_noise(model, params) if noise is None else noise
        latents = start.to(model.device, model.dtype) * scheduler.init_noise_sigma
        for number, t in enumerate(scheduler.timesteps):
            both = scheduler.scale_model_input(torch.cat([latents, latents]), t)
            output = self.unet(both, t, context, added_cond_kwargs=extra, return_dict=False)[0]
            negative, positive = output.chunk(2)
            guided = negative + params.guidance_scale * (positive - negative)
            latents = scheduler.step(guided, t, latents, return_dict=False)[0]
            if seen is not None and number == 0:
                estimate = latents.float().cpu()
                seen(lambda x=estimate: pictures_from(model.preview.images(x))[0])  # type: ignore[misc]
        return self.decode(latents)

    def decode(self, latents: Tensor) -> list[Image.Image]:
        """Turn latents, N x C x h x w, into pictures."""
        config = self.model.vae.config
        given = latents.to(self.model.vae_dtype) / config.scaling_factor
        images = self.vae.decode(given, return_dict=False)[0]
        patch = getattr(config, "patch_size", 1)
        if patch > 1:
            images = torch.nn.functional.pixel_shuffle(images, patch)
        return pictures_from(images.float().cpu())

    def scheduler(self, params: Params) -> Any:  # noqa: ANN401 - a foreign class
        """Return diffusers' sampler for a job; BenchError for one that is not compared here."""
        found = _SCHEDULERS.get(params.sampler)
        if found is None:
            raise BenchError(
                f"the sampler {params.sampler!r} is not compared; there are {', '.join(SAMPLERS)}"
            )
        name, extra = found
        table = self.model.noise_schedule
        alphas = torch.tensor(table.alphas_cumprod, dtype=torch.float64)
        betas = 1 - alphas / torch.cat([torch.ones(1, dtype=torch.float64), alphas[:-1]])
        told: dict[str, object] = {
            "trained_betas": betas.numpy(),
            "prediction_type": table.prediction_type,
            "timestep_spacing": table.timestep_spacing,
            "steps_offset": table.steps_offset,
            **extra,
        }
        if params.schedule == "karras":
            # Karras levels span the whole table (see `schedules.spacing`).
            told |= {"use_karras_sigmas": True, "timestep_spacing": "linspace"}
        with quiet():
            return getattr(diffusers(), name)(**told)

    def _conditions(self, params: Params) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Encode both prompts as the pipelines do, once a job, for all its rows."""
        model = self.model
        found = model.encode_prompts([params.negative_prompt, params.prompt])
        context = found.context.repeat_interleave(params.images, dim=0)
        if model.micro_conditioning != "sizes" or found.pooled is None:
            return context, None
        pooled = found.pooled.repeat_interleave(params.images, dim=0)
        sizes = [params.height, params.width, 0, 0, params.height, params.width]
        ids = torch.tensor([sizes] * len(pooled), device=model.device, dtype=model.dtype)
        return context, {"text_embeds": pooled, "time_ids": ids}


def job_noise(model: Model, params: Params) -> Tensor:
    """Return the starting noise of a job's pictures on the CPU, images x C x h x w."""
    shape = model.latent_shape(params.width, params.height)
    seeds = range(params.seed, params.seed + params.images)
    return torch.stack(
        [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Let the peer keep its warnings about numpy and its own past to itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
