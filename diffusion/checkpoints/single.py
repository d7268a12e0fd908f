"""One safetensors file in the original names (CompVis, Stability, OpenAI): its parts.

Promises: every tensor of the file is placed, or stands on the list of what training leaves behind,
or is named in an error; likewise every tensor that the networks need. Never imports torch.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from diffusion.checkpoints.averages import averaged_sizes, by_average
from diffusion.checkpoints.header import Header, read_numbers
from diffusion.checkpoints.inventory_text import bert_inventory, class_inventory, text_inventory
from diffusion.checkpoints.inventory_unet import controlnet_inventory, unet_inventory
from diffusion.checkpoints.inventory_vae import (
    ddpm_inventory,
    tiny_decoder_inventory,
    tiny_encoder_inventory,
    vae_inventory,
)
from diffusion.checkpoints.kinds import CONTROL_PREFIXES, VAE_PREFIXES, find_prefix
from diffusion.checkpoints.open_clip import by_open_clip
from diffusion.checkpoints.parts import Kind, Part, Piece
from diffusion.checkpoints.placing import Placing
from diffusion.checkpoints.sizes import (
    Shapes,
    bert_sizes,
    class_sizes,
    clip_sizes,
    controlnet_sizes,
    ddpm_sizes,
    open_clip_sizes,
    tiny_encoder_sizes,
    tiny_sizes,
    unet_sizes,
    vae_sizes,
)
from diffusion.errors import CheckpointError
from diffusion.networks.configs import BERTConfig, ClassConfig, TextConfig, UNetConfig, VAEConfig

UNET: Final = "model.diffusion_model."
_COND: Final = "cond_stage_model."
_FIRST: Final = "conditioner.embedders.0."
_SECOND: Final = "conditioner.embedders.1."
_TOKENS: Final = "embeddings.token_embedding.weight"
# OpenCLIP's ViT-H as hub repositories cut it: the last of its 24 layers is never used.
_CUT_LAYERS: Final = 23
_SCALING: Final[Mapping[str, float]] = {"sdxl": 0.13025, "sdxl_refiner": 0.13025}
_PLAYGROUND_SCALING: Final = 0.5

# What training and merging leave in files, and no picture needs.
LEFTOVERS: Final = re.compile(
    r"betas|(sqrt_|log_)?(one_minus_)?alphas_cumprod(_prev)?|sqrt_recip(m1)?_alphas_cumprod"
    r"|posterior_(variance|log_variance_clipped|mean_coef[12])|logvar|lvlb_weights|scale_factor"
    r"|global_step|epoch|v_pred|ztsnr|edm_mean|edm_std|denoiser\.sigmas"
    r"|model_ema\..*|(first_stage_model\.|vae\.)?(loss|model_ema)\..*|optimizer.*"
    r"|embedding_manager\..*"
    # The depth estimator of the depth model and the noise of the upscaler are no networks of ours.
    r"|depth_model\..*|low_scale_model\..*"
    r"|.*\bposition_ids|.*\blogit_scale|.*\battn_mask"
    # The picture half of CLIP, and the projection that its text half has no use for here.
    r"|(cond_stage_model|conditioner\.embedders\.0)\.transformer"
    r"\.(vision_model\..*|visual_projection\.weight|text_projection(\.weight)?)"
    r"|cond_stage_model\.transformer\.to_logits\.(weight|bias)"
    r"|(cond_stage_model|conditioner\.embedders\.[01])\.model\.visual\..*"
    r"|cond_stage_model\.model\.(text_projection|transformer\.resblocks\.23\..*)"
)
# Names that only the files of hub folders have.
_HUB: Final = re.compile(r"(encoder\.|decoder\.)?(down|up)_blocks\.\d|(en|de)coder\.layers\.\d")
_FOREIGN: Final[Mapping[str, str]] = {
    "edm_vpred.sigma_max": "predicts by EDM's v (CosXL), which is not known here",
    "lora_controlnet": "is a Control-LoRA, which is not known here; fetch the full ControlNet",
}


def single_parts(header: Header, kind: Kind) -> tuple[str | None, dict[str, Part]]:
    """Return the family and the parts of a file of a kind that consists of networks."""
    for marker, what in _FOREIGN.items():
        if marker in header.tensors:
            raise CheckpointError(f"{header.path} {what}.")
    if any(_HUB.match(key) for key in header.tensors):
        raise CheckpointError(
            f"{header.path} is one file of a hub folder: its sizes stand in the config.json beside "
            "it. Name the folder that holds both."
        )
    pieces = {k: Piece(file=header.path, key=k, info=i) for k, i in header.tensors.items()}
    placing = Placing(pieces, header.path)
    if kind == "vae":
        family, parts = None, {"vae": _vae(placing, header, None)}
    elif kind == "taesd":
        family, parts = None, _tiny(placing)
    elif kind == "controlnet":
        family, parts = _controlnet(placing)
    elif kind == "unet":
        unet = _unet(placing, "")
        family, parts = _family_of_numbers(unet.config, header), {"unet": unet}
    elif "temb.dense.0.weight" in header.tensors:
        family, parts = "ddpm", {"unet": _ddpm(placing)}
    else:
        family, parts = _model(placing, header)
    placing.finish(LEFTOVERS)
    return family, parts


def _model(placing: Placing, header: Header) -> tuple[str, dict[str, Part]]:
    unet = _unet(placing, UNET)
    family, texts = _texts(placing)
    if family is None:
        family = _family_of_numbers(unet.config, header)
    parts = {"unet": unet, **texts}
    if find_prefix(header.tensors, "decoder.conv_in.weight", VAE_PREFIXES) is not None:
        parts["vae"] = _vae(placing, header, family)
    _check_contexts(unet.config, texts, header)
    return family, parts


def _unet(placing: Placing, prefix: str) -> Part:
    shapes = _shapes(placing, prefix)
    if shapes.has("input_blocks.0.0.weight"):
        config, spell = unet_sizes(shapes), placing.by_prefix(prefix)
    else:
        # Only the average that training keeps is there, under names that have lost their dots.
        config, spell = averaged_sizes(placing.tensors, str(placing.where)), by_average(placing)
    sources = placing.place("U-Net", unet_inventory(config), spell)
    return Part(name="unet", config=config, sources=sources)


def _ddpm(placing: Placing) -> Part:
    config = ddpm_sizes(_shapes(placing, ""))
    sources = placing.place("U-Net", ddpm_inventory(config), placing.by_prefix(""))
    return Part(name="unet", config=config, sources=sources)


def _vae(placing: Placing, header: Header, family: str | None) -> Part:
    prefix = find_prefix(header.tensors, "decoder.conv_in.weight", VAE_PREFIXES) or ""
    config = vae_sizes(_shapes(placing, prefix), _scaling(header, family))
    # An autoencoder alone fits only where it was taken from: its latents' scale is the family's.
    if config.kind == "vq" and "scale_factor" not in header.tensors:
        config = replace(config, scaling_factor=1.0)
    if {"edm_mean", "edm_std"} <= header.tensors.keys():
        mean, std = (
            read_numbers(header.path, header.tensors[key]) for key in ("edm_mean", "edm_std")
        )
        config = replace(
            config,
            latents_mean=mean,
            latents_std=std,
            scaling_factor=_PLAYGROUND_SCALING,
        )
    sources = placing.place("autoencoder", vae_inventory(config), placing.by_prefix(prefix))
    return Part(name="vae", config=config, sources=sources, upcast=family in _SCALING)


def _scaling(header: Header, family: str | None) -> float:
    stored = header.tensors.get("scale_factor")
    if stored is not None and stored.shape in ((), (1,)) and stored.dtype in ("F32", "F64"):
        value = read_numbers(header.path, stored)[0]
        if not 0 < value < float("inf"):
            raise CheckpointError(f"{header.path}: scale_factor is {value}, must be above 0.")
        return float(f"{value:.7g}")
    return _SCALING.get(family or "", VAEConfig().scaling_factor)


def _texts(placing: Placing) -> tuple[str | None, dict[str, Part]]:
    """Return the family and its text encoders: which of them there are tells the family."""
    tensors = placing.tensors
    if f"{_COND}transformer.token_emb.weight" in tensors:
        return "ldm", {"text": _bert(placing)}
    if f"{_COND}embedding.weight" in tensors:
        return "ldm_class", {"text": _classes(placing)}
    if f"{_COND}model.token_embedding.weight" in tensors:
        return "sd2", {"text": _open_clip(placing, "text", f"{_COND}model.")}
    for stem in (_COND, _FIRST):
        for prefix in (f"{stem}transformer.text_model.", f"{stem}transformer."):
            if prefix + _TOKENS not in tensors:
                continue
            if stem == _COND:
                return "sd1", {"text": _clip(placing, prefix)}
            second = _open_clip(placing, "text_2", f"{_SECOND}model.")
            return "sdxl", {"text": _clip(placing, prefix), "text_2": second}
    if f"{_FIRST}model.token_embedding.weight" in tensors:
        return "sdxl_refiner", {"text_2": _open_clip(placing, "text_2", f"{_FIRST}model.")}
    return None, {}


def _clip(placing: Placing, prefix: str) -> Part:
    config = replace(clip_sizes(_shapes(placing, prefix)), projection_dim=0)
    if prefix.startswith(_FIRST):
        config = replace(config, skip=1, final_norm=False)
    sources = placing.place("text encoder", text_inventory(config), placing.by_prefix(prefix))
    return Part(name="text", config=config, sources=sources)


def _open_clip(placing: Placing, name: str, prefix: str) -> Part:
    config = open_clip_sizes(_shapes(placing, prefix))
    if name == "text_2":
        config = replace(config, skip=1, final_norm=False)
    else:
        last = config.layers - 1
        if config.layers != _CUT_LAYERS:
            config = replace(config, layers=last)
            placing.drop(f"{prefix}transformer.resblocks.{last}.")
        config = replace(config, projection_dim=0)
    sources = placing.place("text encoder", text_inventory(config), by_open_clip(placing, prefix))
    return Part(name=name, config=config, sources=sources)


def _bert(placing: Placing) -> Part:
    prefix = f"{_COND}transformer."
    config = bert_sizes(_shapes(placing, prefix))
    sources = placing.place("text encoder", bert_inventory(config), placing.by_prefix(prefix))
    return Part(name="text", config=config, sources=sources)


def _classes(placing: Placing) -> Part:
    config = class_sizes(_shapes(placing, _COND))
    sources = placing.place("table of classes", class_inventory(config), placing.by_prefix(_COND))
    return Part(name="text", config=config, sources=sources)


def _controlnet(placing: Placing) -> tuple[str | None, dict[str, Part]]:
    prefix = find_prefix(placing.tensors, "zero_convs.0.0.weight", CONTROL_PREFIXES) or ""
    config = controlnet_sizes(_shapes(placing, prefix))
    sources = placing.place("ControlNet", controlnet_inventory(config), placing.by_prefix(prefix))
    part = Part(name="controlnet", config=config, sources=sources)
    return family_by_numbers(config.unet), {"controlnet": part}


def _tiny(placing: Placing) -> dict[str, Part]:
    shapes = _shapes(placing, "")
    if shapes.has("1.weight"):
        config, name = tiny_sizes(shapes), "taesd"
        inventory = tiny_decoder_inventory(config)
    else:
        config, name = tiny_encoder_sizes(shapes), "taesd_encoder"
        inventory = tiny_encoder_inventory(config)
    sources = placing.place("tiny autoencoder", inventory, placing.by_prefix(""))
    return {name: Part(name=name, config=config, sources=sources)}


def family_by_numbers(unet: UNetConfig) -> str | None:
    """Return the family of a U-Net alone by its published widths, or None."""
    if unet.attention == "plain":
        return "ldm_uncond"
    known = {
        (768, 0): "sd1",
        (1024, 0): "sd2",
        (2048, 2816): "sdxl",
        (1280, 2560): "sdxl_refiner",
        (1280, 0): "ldm",
        (640, 0): "ldm",
        (512, 0): "ldm_class",
    }
    return known.get((unet.context_dim or 0, unet.added_dim))


def _family_of_numbers(config: object, header: Header) -> str:
    family = family_by_numbers(config) if isinstance(config, UNetConfig) else None
    if family is None:
        raise CheckpointError(
            f"{header.path} is a U-Net of no known family: its context is "
            f"{getattr(config, 'context_dim', None)} wide, its added vector "
            f"{getattr(config, 'added_dim', None)}."
        )
    return family


def _check_contexts(unet: object, texts: Mapping[str, Part], header: Header) -> None:
    """The text encoders of a merged file must be those that the U-Net listens to."""
    widths = [
        part.config.width
        for part in texts.values()
        if isinstance(part.config, TextConfig | BERTConfig | ClassConfig)
    ]
    wanted = getattr(unet, "context_dim", None) or 0
    if texts and sum(widths) != wanted:
        raise CheckpointError(
            f"{header.path}: the U-Net listens to a context {wanted} wide, its text encoders give "
            f"{sum(widths)}. The file is merged from models of two families."
        )


def _shapes(placing: Placing, prefix: str) -> Shapes:
    start = len(prefix)
    table = {k[start:]: p.info.shape for k, p in placing.pieces.items() if k.startswith(prefix)}
    return Shapes(table, str(placing.where))
