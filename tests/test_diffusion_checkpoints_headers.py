"""The heads of published files, full size: recognised, measured, and mapped to the last tensor.

tests/data/headers/README.md says how they were made.
"""

import gzip
import json
from pathlib import Path

import pytest

from diffusion.checkpoints import Checkpoint, open_checkpoint
from diffusion.checkpoints.parts import Config
from diffusion.errors import CheckpointError
from diffusion.networks.configs import (
    BERTConfig,
    ClassConfig,
    DDPMConfig,
    TextConfig,
    UNetConfig,
    VAEConfig,
)
from tests.checkpoint_files import scaled, sparse

HEADERS = Path(__file__).parent / "data" / "headers"
OPEN_CLIP_H = TextConfig(
    width=1024, layers=23, heads=16, feed_forward=4096, activation="gelu", pad_id=0
)
OPEN_CLIP_G = TextConfig(
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
XL_VAE = VAEConfig(scaling_factor=0.13025)
VQ_F4 = VAEConfig(kind="vq", codes=8192, z_channels=3, channel_mult=(1, 2, 4), scaling_factor=1.0)
SDXL = UNetConfig(
    channel_mult=(1, 2, 4),
    transformer_depth=(0, 2, 10),
    middle_depth=10,
    heads=None,
    head_dim=64,
    context_dim=2048,
    linear_projection=True,
    added_dim=2816,
)
KNOWN: dict[str, tuple[str, dict[str, Config]]] = {
    "sd15": ("sd1", {"unet": UNetConfig(), "vae": VAEConfig(), "text": TextConfig()}),
    "sd15_inpainting": (
        "sd1",
        {"unet": UNetConfig(in_channels=9), "vae": VAEConfig(), "text": TextConfig()},
    ),
    "sd21_768_v": (
        "sd2",
        {
            "unet": UNetConfig(
                context_dim=1024,
                heads=None,
                head_dim=64,
                linear_projection=True,
                upcast_attention=True,
            ),
            "vae": VAEConfig(),
            "text": OPEN_CLIP_H,
        },
    ),
    "sdxl_base": (
        "sdxl",
        {
            "unet": SDXL,
            "vae": XL_VAE,
            "text": TextConfig(skip=1, final_norm=False),
            "text_2": OPEN_CLIP_G,
        },
    ),
    "sdxl_refiner": (
        "sdxl_refiner",
        {
            "unet": UNetConfig(
                model_channels=384,
                transformer_depth=(0, 4, 4, 0),
                middle_depth=4,
                heads=None,
                head_dim=64,
                context_dim=1280,
                linear_projection=True,
                added_dim=2560,
            ),
            "vae": XL_VAE,
            "text_2": OPEN_CLIP_G,
        },
    ),
    "ldm_text2img_large": (
        "ldm",
        {"unet": UNetConfig(context_dim=1280), "vae": VAEConfig(), "text": BERTConfig()},
    ),
    "ldm_celebahq": (
        "ldm_uncond",
        {
            "unet": UNetConfig(
                in_channels=3,
                out_channels=3,
                model_channels=224,
                channel_mult=(1, 2, 3, 4),
                transformer_depth=(0, 1, 1, 1),
                heads=None,
                head_dim=32,
                context_dim=None,
                attention="plain",
            ),
            "vae": VQ_F4,
        },
    ),
    "ldm_lsun_churches": (
        "ldm_uncond",
        {
            "unet": UNetConfig(
                model_channels=192,
                channel_mult=(1, 2, 2, 4, 4),
                transformer_depth=(1, 1, 1, 1, 0),
                context_dim=None,
                attention="plain",
                scale_shift_norm=True,
                resblock_updown=True,
            ),
            "vae": VAEConfig(scaling_factor=0.25),
        },
    ),
    "ldm_cin256_v2": (
        "ldm_class",
        {
            "unet": UNetConfig(
                in_channels=3,
                out_channels=3,
                model_channels=192,
                channel_mult=(1, 2, 3, 5),
                transformer_depth=(0, 1, 1, 1),
                heads=1,
                context_dim=512,
            ),
            "vae": VQ_F4,
            "text": ClassConfig(),
        },
    ),
    "ddpm_cifar10": ("ddpm", {"unet": DDPMConfig()}),
    "ddpm_lsun_church": (
        "ddpm",
        {
            "unet": DDPMConfig(
                channel_mult=(1, 1, 2, 2, 4, 4),
                attention=(False, False, False, False, True, False),
                resolution=256,
            )
        },
    ),
}
BETAS = {
    "sd15": (0.00085, 0.012),
    "sd21_768_v": (0.00085, 0.012),
    "ldm_text2img_large": (0.00085, 0.012),
    "ldm_celebahq": (0.0015, 0.0195),
    "ldm_lsun_churches": (0.0015, 0.0155),
    "ldm_cin256_v2": (0.0015, 0.0195),
}
PRECISION = {"sd15_inpainting": "float16", "sdxl_base": "float16", "sdxl_refiner": "float16"}


def header(name: str) -> dict[str, tuple[str, list[int]]]:
    text = gzip.decompress((HEADERS / f"{name}.json.gz").read_bytes())
    return {key: (dtype, shape) for key, (dtype, shape) in json.loads(text).items()}


def opened(name: str, folder: Path, **changes: dict[str, tuple[str, list[int]]]) -> Checkpoint:
    tensors = {**header(name), **changes.get("more", {})}
    values = {}
    if name in BETAS:
        values["betas"] = scaled(*BETAS[name])
    if "scale_factor" in tensors:
        values["scale_factor"] = [0.25]
    # The name says nothing: recognition may not look at it.
    return open_checkpoint(sparse(folder / "model.safetensors", tensors, values))


@pytest.mark.parametrize("name", KNOWN)
def test_published_files_map_completely(name: str, tmp_path: Path) -> None:
    checkpoint = opened(name, tmp_path)
    family, configs = KNOWN[name]
    assert (checkpoint.kind, checkpoint.family, checkpoint.layout) == ("model", family, "single")
    assert {key: part.config for key, part in checkpoint.parts.items()} == configs
    assert checkpoint.precision == PRECISION.get(name, "float32")
    assert checkpoint.bytes == (tmp_path / "model.safetensors").stat().st_size
    assert checkpoint.requires_aesthetics_score == (family == "sdxl_refiner")
    assert checkpoint.force_zeros_for_empty_prompt == (family == "sdxl")


@pytest.mark.parametrize("name", KNOWN)
def test_every_tensor_is_used_once_or_known_to_be_left(name: str, tmp_path: Path) -> None:
    checkpoint = opened(name, tmp_path)
    tensors = header(name)
    used: dict[str, int] = {}
    for part in checkpoint.parts.values():
        for source in part.sources.values():
            for piece in source.pieces:
                rows = source.rows or (0, 0)
                used[piece.key] = used.get(piece.key, 0) + (rows[1] - rows[0] if source.rows else 1)
    for key, count in used.items():
        # A joined projection is used row by row, everything else whole.
        assert count == (tensors[key][1][0] if ".in_proj_" in key else 1), key
    left = {key for key in tensors if key not in used and not key.startswith("model_ema.")}
    networks = ("model.diffusion_model.", "first_stage_model.")
    assert not any(key.startswith(networks) for key in left)
    text = {key for key in left if key.startswith(("cond_stage_model.", "conditioner."))}
    assert all(
        key.endswith(("position_ids", "logit_scale"))
        or "to_logits" in key
        or (name == "sd21_768_v" and (".resblocks.23." in key or key.endswith("text_projection")))
        for key in text
    )


@pytest.mark.parametrize("name", BETAS)
def test_betas_come_from_the_file(name: str, tmp_path: Path) -> None:
    schedule = opened(name, tmp_path).schedule
    found = schedule["beta_start"], schedule["beta_end"], schedule["beta_schedule"]
    assert found == (*BETAS[name], "scaled_linear")


def test_what_cannot_be_read_is_not_guessed(tmp_path: Path) -> None:
    assert opened("sd21_768_v", tmp_path).prediction_type is None
    marked = opened("sd21_768_v", tmp_path, more={"v_pred": ("F32", [])})
    assert marked.prediction_type == "v_prediction"
    assert opened("sd15", tmp_path).prediction_type == "epsilon"


def test_markers_of_merged_models(tmp_path: Path) -> None:
    more: dict[str, tuple[str, list[int]]] = {"v_pred": ("F32", []), "ztsnr": ("F32", [])}
    checkpoint = opened("sdxl_base", tmp_path, more=more)
    assert checkpoint.prediction_type == "v_prediction"
    assert checkpoint.schedule["rescale_betas_zero_snr"] is True
    assert checkpoint.schedule["timestep_spacing"] == "trailing"


def test_playground_brings_its_own_scale(tmp_path: Path) -> None:
    tensors = header("sdxl_base")
    tensors |= {key: ("F32", [1, 4, 1, 1]) for key in ("edm_mean", "edm_std")}
    mean, std = [-1.5, 0.25, 2.0, 3.0], [8.0, 6.5, 5.25, 4.0]
    values = {"edm_mean": mean, "edm_std": std}
    checkpoint = open_checkpoint(sparse(tmp_path / "x.safetensors", tensors, values))
    vae = checkpoint.parts["vae"].config
    assert isinstance(vae, VAEConfig)
    assert (vae.latents_mean, vae.latents_std) == (tuple(mean), tuple(std))
    assert vae.scaling_factor == 0.5
    # Its network is no predictor of noise, and must not be taken for one.
    assert checkpoint.prediction_type == checkpoint.schedule["prediction_type"] == "edm"


def test_the_metadata_of_a_file_may_say_what_it_predicts(tmp_path: Path) -> None:
    for said, wanted in (("v", "v_prediction"), ("epsilon", "epsilon"), ("?", None)):
        path = sparse(
            tmp_path / "x.safetensors",
            header("sd21_768_v"),
            metadata={"modelspec.prediction_type": said},
        )
        assert open_checkpoint(path).prediction_type == wanted


@pytest.mark.parametrize("name", ["sd15", "ldm_celebahq", "ldm_cin256_v2", "ldm_text2img_large"])
def test_a_file_with_averages_only(name: str, tmp_path: Path) -> None:
    whole = header(name)
    tensors = {k: v for k, v in whole.items() if not k.startswith("model.diffusion_model.")}
    values = {"betas": scaled(*BETAS[name])}
    checkpoint = open_checkpoint(sparse(tmp_path / "x.safetensors", tensors, values))
    assert {key: part.config for key, part in checkpoint.parts.items()} == KNOWN[name][1]
    keys = {s.pieces[0].key for s in checkpoint.parts["unet"].sources.values()}
    assert keys == {k for k in tensors if k.startswith("model_ema.diffusion_model")}


@pytest.mark.parametrize(
    ("lost", "part"),
    [
        ("model.diffusion_model.middle_block.1.proj_in.weight", "U-Net"),
        ("first_stage_model.decoder.up.1.block.2.norm1.bias", "autoencoder"),
        ("cond_stage_model.transformer.text_model.final_layer_norm.bias", "text encoder"),
    ],
)
def test_a_missing_tensor_is_named(lost: str, part: str, tmp_path: Path) -> None:
    tensors = header("sd15")
    del tensors[lost]
    with pytest.raises(CheckpointError, match=f"{part} is not whole: missing .*{lost[-20:]}"):
        open_checkpoint(sparse(tmp_path / "x.safetensors", tensors))


def test_an_unknown_tensor_is_named(tmp_path: Path) -> None:
    more: dict[str, tuple[str, list[int]]] = {"model.diffusion_model.new.weight": ("F32", [3])}
    with pytest.raises(CheckpointError, match=r"no network here: model\.diffusion_model\.new"):
        opened("sd15", tmp_path, more=more)


def test_two_families_merged_are_refused(tmp_path: Path) -> None:
    tensors = {
        key: value
        for key, value in header("sd15").items()
        if not key.startswith(("cond_stage_model.", "model_ema."))
    }
    second = header("sd21_768_v")
    tensors |= {k: v for k, v in second.items() if k.startswith("cond_stage_model.")}
    with pytest.raises(CheckpointError, match="768 wide, its text encoders give 1024"):
        open_checkpoint(sparse(tmp_path / "x.safetensors", tensors))


def test_training_leftovers_do_not_matter(tmp_path: Path) -> None:
    more: dict[str, tuple[str, list[int]]] = {
        "first_stage_model.loss.discriminator.main.0.weight": ("F32", [64, 3, 4, 4]),
        "loss.perceptual_loss.lin0.model.1.weight": ("F32", [1, 64, 1, 1]),
        "optimizer_states.0": ("F32", [4]),
        "lvlb_weights": ("F32", [1000]),
    }
    assert opened("sd15", tmp_path, more=more).family == "sd1"


def test_a_guidance_embedding_is_seen(tmp_path: Path) -> None:
    more: dict[str, tuple[str, list[int]]] = {
        "model.diffusion_model.time_embed.cond_proj.weight": ("F32", [320, 256])
    }
    unet = opened("sd15", tmp_path, more=more).parts["unet"].config
    assert unet == UNetConfig(guidance_dim=256)


def test_the_foreign_are_told_apart(tmp_path: Path) -> None:
    more: dict[str, tuple[str, list[int]]] = {"edm_vpred.sigma_max": ("F32", [])}
    with pytest.raises(CheckpointError, match="CosXL"):
        opened("sdxl_base", tmp_path, more=more)
    hub = {"encoder.down_blocks.0.resnets.0.norm1.weight": ("F32", [128]),
           "decoder.conv_in.weight": ("F32", [512, 4, 3, 3])}  # fmt: skip
    with pytest.raises(CheckpointError, match=r"config\.json beside"):
        open_checkpoint(sparse(tmp_path / "x.safetensors", hub))


def test_parts_alone(tmp_path: Path) -> None:
    tensors = header("sd15")
    for prefix, kind in (("first_stage_model.", "vae"), ("model.diffusion_model.", "unet")):
        alone = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        checkpoint = open_checkpoint(sparse(tmp_path / "x.safetensors", alone))
        assert checkpoint.kind == kind
        assert checkpoint.parts[kind].config == KNOWN["sd15"][1][kind]
        with pytest.raises(CheckpointError, match="alone"):
            checkpoint.require("model")
