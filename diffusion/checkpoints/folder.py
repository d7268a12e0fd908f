"""A folder of components, as hub repositories have them: its parts.

Promises: reads JSON files and heads of safetensors files only; runs nothing; what our networks
cannot express is refused with a sentence. Never imports torch.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from diffusion.checkpoints.hub_configs import (
    bert_config,
    safety_config,
    text_config,
    tiny_config,
    vae_config,
)
from diffusion.checkpoints.hub_fields import Fields, read_object
from diffusion.checkpoints.hub_tokens import pad_id
from diffusion.checkpoints.hub_unets import controlnet_config, unconditional_config, unet_config
from diffusion.checkpoints.inventory import Entry
from diffusion.checkpoints.inventory_text import bert_inventory, safety_inventory, text_inventory
from diffusion.checkpoints.inventory_unet import controlnet_inventory, unet_inventory
from diffusion.checkpoints.inventory_vae import (
    ddpm_inventory,
    tiny_decoder_inventory,
    tiny_encoder_inventory,
    vae_inventory,
)
from diffusion.checkpoints.parts import Kind, Part, Source
from diffusion.checkpoints.placing import Placing, Spelling, one_piece
from diffusion.checkpoints.schedules import family_schedule
from diffusion.checkpoints.single import family_by_numbers
from diffusion.checkpoints.weights import component_pieces
from diffusion.errors import CheckpointError
from diffusion.networks.configs import BERTConfig, DDPMConfig, TextConfig, UNetConfig

INDEX: Final = "model_index.json"
CONFIG: Final = "config.json"
# Which part a subfolder is; the first that there is wins.
_FOLDERS: Final = {
    "unet": ("unet",),
    "vae": ("vae", "vqvae"),
    "text": ("text_encoder", "bert"),
    "text_2": ("text_encoder_2",),
    "safety": ("safety_checker",),
}
_FOREIGN: Final = ("transformer", "prior", "text_encoder_3", "image_encoder", "depth_estimator")
_KINDS: Final[dict[str, Kind]] = {
    "UNet2DConditionModel": "unet",
    "UNet2DModel": "unet",
    "AutoencoderKL": "vae",
    "VQModel": "vae",
    "AutoencoderTiny": "taesd",
    "ControlNetModel": "controlnet",
    "CLIPTextModel": "text",
    "CLIPTextModelWithProjection": "text",
    "LDMBertModel": "text",
}
_LEFTOVERS: Final = re.compile(r".*\bposition_ids|.*\blogit_scale|to_logits\.(weight|bias)")
_FORCES_ZEROS: Final = "StableDiffusionXL"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderModel:
    """What a folder holds, before it is summed up as a checkpoint."""

    kind: Kind
    family: str | None
    parts: dict[str, Part]
    schedule: dict[str, object]
    prediction_type: str | None
    force_zeros_for_empty_prompt: bool = False
    requires_aesthetics_score: bool = False


def is_folder_model(path: Path) -> bool:
    """Say whether a folder looks like a hub repository: an index, or a component's config."""
    return (
        (path / INDEX).is_file()
        or (path / "unet" / CONFIG).is_file()
        or ((path / CONFIG).is_file() and _class_of(read_object(path / CONFIG)) in _KINDS)
    )


def folder_model(path: Path, variant: str | None) -> FolderModel:
    """Describe a folder of components, or the folder of one component."""
    index = read_object(path / INDEX) if (path / INDEX).is_file() else {}
    if not index and not (path / "unet").is_dir():
        return _component_alone(path, variant)
    foreign = [n for n in _FOREIGN if (path / n).is_dir() or _listed(index, n)]
    if foreign:
        raise CheckpointError(
            f"{path} is a model with a {foreign[0]} ({index.get('_class_name', 'unknown')!s:.80}), "
            "which is not known here: Stable Diffusion 1, 2, XL, latent diffusion and DDPM are."
        )
    parts = {}
    for name, folders in _FOLDERS.items():
        folder = next((path / each for each in folders if _present(path, index, each)), None)
        if folder is not None:
            parts[name] = _part(name, folder, path, variant)
    # Older unconditional repositories keep the network beside the index.
    if "unet" not in parts and (path / CONFIG).is_file():
        parts["unet"] = _part("unet", path, path, variant)
    if "unet" not in parts:
        raise CheckpointError(f"{path} has no U-Net: a folder unet with a {CONFIG} is needed.")
    return _summed_up(path, index, parts)


def _summed_up(path: Path, index: dict[str, Any], parts: dict[str, Part]) -> FolderModel:
    family = _family(parts)
    parts = {name: _in_family(part, family) for name, part in parts.items()}
    scheduler = next(
        (
            file
            for file in (
                path / "scheduler" / "scheduler_config.json",
                path / "scheduler_config.json",
            )
            if file.is_file()
        ),
        None,
    )
    schedule = read_object(scheduler) if scheduler else family_schedule(family)
    prediction = schedule.get("prediction_type", "epsilon")
    if not isinstance(prediction, str):
        raise CheckpointError(
            f"{scheduler}: prediction_type is {prediction!r:.80}, must be a name."
        )
    if str(schedule.get("_class_name", "")).startswith("EDM"):
        prediction = "edm"
    forces = str(index.get("_class_name", "")).startswith(_FORCES_ZEROS) and family == "sdxl"
    fields = Fields(index, str(path / INDEX))
    return FolderModel(
        kind="model",
        family=family,
        parts=parts,
        schedule=schedule,
        prediction_type=prediction,
        force_zeros_for_empty_prompt=fields.flag("force_zeros_for_empty_prompt", default=forces),
        requires_aesthetics_score=fields.flag("requires_aesthetics_score", default=False),
    )


def _component_alone(path: Path, variant: str | None) -> FolderModel:
    config = read_object(path / CONFIG)
    kind = _KINDS.get(_class_of(config))
    if kind is None:
        raise CheckpointError(
            f"{path} has neither a {INDEX} nor a {CONFIG} of a network that is known here."
        )
    part = _part(kind, path, path, variant)
    parts = {part.name: part}
    if kind == "taesd":
        parts = _tiny_parts(path, variant)
    unet = getattr(part.config, "unet", part.config)
    family = family_by_numbers(unet) if isinstance(unet, UNetConfig) else None
    if isinstance(part.config, DDPMConfig):
        kind, family = "model", "ddpm"
    schedule = family_schedule(family) if family else {}
    return FolderModel(
        kind=kind, family=family, parts=parts, schedule=schedule, prediction_type=None
    )


def _part(name: str, folder: Path, root: Path, variant: str | None) -> Part:
    config = read_object(folder / CONFIG)
    fields, made = Fields(config, str(folder / CONFIG)), _class_of(config)
    if name == "taesd":
        return _tiny_parts(folder, variant)["taesd"]
    placing = Placing(component_pieces(folder, root, variant), folder)
    part = _build(name, fields, made, placing, root, folder)
    placing.finish(_LEFTOVERS)
    return part


def _build(
    name: str, fields: Fields, made: str, placing: Placing, root: Path, folder: Path
) -> Part:
    spell = placing.by_hub()
    match made:
        case "UNet2DConditionModel" if name == "unet":
            unet = unet_config(fields)
            return Part(
                name=name, config=unet, sources=placing.place("U-Net", unet_inventory(unet), spell)
            )
        case "UNet2DModel" if name == "unet":
            plain = unconditional_config(fields)
            inventory = (
                ddpm_inventory(plain) if isinstance(plain, DDPMConfig) else unet_inventory(plain)
            )
            return Part(name=name, config=plain, sources=placing.place("U-Net", inventory, spell))
        case "ControlNetModel" if name == "controlnet":
            control = controlnet_config(fields)
            inventory = controlnet_inventory(control)
            sources = placing.place("ControlNet", inventory, spell)
            return Part(name=name, config=control, sources=sources)
        case "AutoencoderKL" | "VQModel" if name == "vae":
            vae = vae_config(fields, vq=made == "VQModel")
            sources = placing.place("autoencoder", vae_inventory(vae), spell)
            upcast = fields.table.get("force_upcast", made == "AutoencoderKL") is True
            return Part(name=name, config=vae, sources=sources, upcast=upcast)
        case "CLIPTextModel" | "CLIPTextModelWithProjection" if name in ("text", "text_2"):
            tokens = root / folder.name.replace("text_encoder", "tokenizer")
            projected = made == "CLIPTextModelWithProjection"
            text = text_config(fields, projected=projected, pad_id=pad_id(tokens))
            nested = _nested(placing, "text_model.")
            sources = placing.place("text encoder", text_inventory(text), nested)
            return Part(name=name, config=text, sources=sources)
        case "LDMBertModel" if name == "text":
            bert = bert_config(fields)
            sources = placing.place("text encoder", bert_inventory(bert), spell)
            return Part(name=name, config=bert, sources=sources)
        case "StableDiffusionSafetyChecker" if name == "safety":
            safety = safety_config(fields)
            nested = _nested(placing, "vision_model.")
            sources = placing.place("safety checker", safety_inventory(safety), nested)
            return Part(name=name, config=safety, sources=sources)
    raise CheckpointError(f"{fields.where}: a {made or 'nameless class'!s:.80} is not known here.")


def _tiny_parts(folder: Path, variant: str | None) -> dict[str, Part]:
    path = folder / CONFIG
    config = tiny_config(Fields(read_object(path), str(path)))
    placing = Placing(component_pieces(folder, folder, variant), folder)
    parts = {}
    for name, inventory in (
        ("taesd", tiny_decoder_inventory(config)),
        ("taesd_encoder", tiny_encoder_inventory(config)),
    ):
        sources = placing.place("tiny autoencoder", inventory, placing.by_hub())
        parts[name] = Part(name=name, config=config, sources=sources)
    placing.finish(_LEFTOVERS)
    return parts


def _nested(placing: Placing, prefix: str) -> Spelling:
    """Return the spelling of transformers, which has a prefix in some versions and files."""

    def spell(key: str, entry: Entry) -> Source | None:
        piece = placing.find(key, prefix + key)
        return one_piece(piece, entry)

    return spell


def _family(parts: dict[str, Part]) -> str:
    unet, text = parts["unet"].config, parts["text"].config if "text" in parts else None
    if isinstance(unet, DDPMConfig):
        return "ddpm"
    if "text_2" in parts:
        return "sdxl" if "text" in parts else "sdxl_refiner"
    if isinstance(text, BERTConfig):
        return "ldm"
    if not isinstance(unet, UNetConfig) or unet.attention == "plain":
        return "ldm_uncond"
    known = family_by_numbers(unet)
    return known or ("sd2" if unet.linear_projection else "sd1")


def _in_family(part: Part, family: str) -> Part:
    """Give a part what its own configuration does not say and its family does."""
    if isinstance(part.config, TextConfig) and family in ("sdxl", "sdxl_refiner"):
        return replace(part, config=replace(part.config, skip=1, final_norm=False))
    if part.name == "vae" and family not in ("sdxl", "sdxl_refiner"):
        return replace(part, upcast=False)
    return part


def _class_of(config: dict[str, Any]) -> str:
    """Return the class that a configuration is of, as its library notes it."""
    name = config.get("_class_name")
    named = config.get("architectures")
    if name is None and isinstance(named, list) and len(named) == 1:
        name = named[0]
    return name if isinstance(name, str) else ""


def _listed(index: dict[str, Any], name: str) -> bool:
    entry = index.get(name)
    return isinstance(entry, list) and len(entry) == 2 and entry[1] is not None


def _present(path: Path, index: dict[str, Any], name: str) -> bool:
    """Say whether a component is there; one that the index sets to null is not."""
    if not (path / name / CONFIG).is_file():
        if name in index and _listed(index, name) and name != "safety_checker":
            older = (path / CONFIG).is_file() and name == "unet"
            if not older:
                raise CheckpointError(f"{path} lists a {name}, but {name}/{CONFIG} is missing.")
        return False
    return name not in index or _listed(index, name)
