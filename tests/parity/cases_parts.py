"""What the text encoders, the backbone and the autoencoder of every family and layout answer."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from diffusers.models.embeddings import Timesteps
from torch import Tensor

from diffusion.networks.vae import AutoencoderKL
from tests.parity.cases import PARTS, Case
from tests.parity.parts import class_table
from tests.parity.pipelines import LAYOUTS, SYSTEMS, Layout, model, system

PROMPTS = ["a red fox, not in the snow", "two owls at 5 o'clock \N{SNOWMAN} naïve"]
TIMES = (37.0, 801.0)


def relative(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference in parts of the reference's largest value."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


def drawn(*shape: int, seed: int = 5) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def text(name: str, layout: Layout) -> float:
    ours, pipe = model(name, layout), system(name).pipeline
    if name == "ldm-class":
        found = ours.encode_prompts(["3", ""])
        return relative(found.context, class_table()[[3, 10]][:, None])
    found = ours.encode_prompts(PROMPTS)
    if name == "ldm":
        told = {"padding": "max_length", "max_length": 77, "return_tensors": "pt"}
        return relative(found.context, pipe.bert(pipe.tokenizer(PROMPTS, **told).input_ids)[0])
    context, _, *pooled = pipe.encode_prompt(
        prompt=PROMPTS,
        device="cpu",
        num_images_per_prompt=1,
        do_classifier_free_guidance=False,
    )
    error = relative(found.context, context)
    if not pooled:
        return error
    assert found.pooled is not None
    return max(error, relative(found.pooled, pooled[0]))


@torch.inference_mode()
def backbone(name: str, layout: Layout) -> float:
    ours, pipe = model(name, layout), system(name).pipeline
    config = pipe.unet.config
    x, times = drawn(2, config.in_channels, 8, 12), torch.tensor(TIMES)
    if name in ("ddpm", "ldm-uncond"):
        return relative(ours.backbone(x, times), pipe.unet(x, times).sample)
    context = drawn(2, 7, config.cross_attention_dim, seed=6)
    added, told, guidance = None, {}, None
    if config.addition_embed_type is not None:
        sizes = torch.tensor([[64.0, 96.0, 8.0, 0.0, 64.0, 96.0], [512.0, 9.0, 0.0, 1.0, 2.0, 3.0]])
        sizes = sizes[:, : 5 if name == "sdxl-refiner" else 6]
        pooled = drawn(2, 96, seed=7)
        told["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": sizes}
        sines: Any = Timesteps(256, flip_sin_to_cos=True, downscale_freq_shift=0)
        added = torch.cat([pooled, sines(sizes.flatten()).reshape(2, -1)], dim=1)
    if config.time_cond_proj_dim is not None:
        guidance = torch.tensor([1.5, 6.5])
        told["timestep_cond"] = pipe.get_guidance_scale_embedding(guidance, 256)
    wanted = pipe.unet(x, times, encoder_hidden_states=context, **told).sample
    if guidance is None:
        return relative(ours.backbone(x, times, context, added), wanted)
    unet: Any = ours.backbone
    return relative(unet(x, times, context, added, guidance=guidance), wanted)


@torch.inference_mode()
def autoencoder(name: str, layout: Layout) -> float:
    ours, pipe = model(name, layout), system(name).pipeline
    vae = pipe.vae if hasattr(pipe, "vae") else pipe.vqvae
    images, scale = drawn(2, 3, 64, 96).clamp(-1, 1), vae.config.scaling_factor
    coded = vae.encode(images)
    kl = isinstance(ours.vae, AutoencoderKL)
    latents = coded.latent_dist.mean if kl else coded.latents
    there = relative(ours.vae.encode(images), latents * scale)
    code = drawn(*latents.shape)
    return max(there, relative(ours.vae.decode(code), vae.decode(code / scale).sample))


COMPARED: dict[str, Callable[[str, Layout], float]] = {
    "text encoders' output": text,
    "backbone's output": backbone,
    "autoencoder, both ways": autoencoder,
}


def cases() -> Iterator[Case]:
    """Return the outputs of every network in both layouts."""
    for name in SYSTEMS:
        if name in ("sd2-v", "sdxl-turbo"):
            # The same networks as those they are named after.
            continue
        for layout in LAYOUTS:
            for what, measure in COMPARED.items():
                if _there(name, layout, measure):
                    yield Case(
                        family=name,
                        layout=layout,
                        what=what,
                        measure=partial(measure, name, layout),
                        limit=PARTS,
                        unit="relative",
                    )


def _there(name: str, layout: Layout, measure: Callable[[str, Layout], float]) -> bool:
    if name == "ldm-class" and layout == "folder":
        # diffusers has no folder for it: the table of classes has no place there.
        return False
    if measure is text:
        return name not in ("ddpm", "ldm-uncond")
    return measure is not autoencoder or name != "ddpm"
