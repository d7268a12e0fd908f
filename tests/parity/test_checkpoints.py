"""Both layouts of every family through our loader: every tensor arrives, bit for bit.

Judges: the networks that wrote the files, the two layouts each other, and diffusers' own conversion
of single files.
"""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders import single_file_utils
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from diffusion.checkpoints import Checkpoint, Part, open_checkpoint
from diffusion.checkpoints.load import load_part
from diffusion.networks.bert import BERTTransformer
from diffusion.networks.configs import (
    BERTConfig,
    ClassConfig,
    DDPMConfig,
    TextConfig,
    UNetConfig,
    VAEConfig,
)
from diffusion.networks.ddpm import DDPMUNet
from diffusion.networks.unet import UNet
from diffusion.networks.vae import AutoencoderKL
from diffusion.networks.vq import AutoencoderVQ
from tests.parity.layouts import unet_single
from tests.parity.tinies import FAMILIES, tiny
from tests.thinning import thinned

FOLDERS = sorted(set(FAMILIES) - {"ldm-class"})
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def network(part: Part) -> nn.Module:
    config = part.config
    with torch.device("meta"):
        match config:
            case UNetConfig():
                return UNet(config)
            case DDPMConfig():
                return DDPMUNet(config)
            case VAEConfig():
                return AutoencoderVQ(config) if config.kind == "vq" else AutoencoderKL(config)
            case BERTConfig():
                return BERTTransformer(config)
            case ClassConfig():
                return nn.ModuleDict({"embedding": nn.Embedding(config.classes, config.width)})
            case TextConfig():
                kind = CLIPTextModelWithProjection if config.projection_dim else CLIPTextModel
                return kind(
                    CLIPTextConfig(
                        vocab_size=config.vocab_size,
                        hidden_size=config.width,
                        num_hidden_layers=config.layers,
                        num_attention_heads=config.heads,
                        intermediate_size=config.feed_forward,
                        projection_dim=config.projection_dim or 512,
                    )
                )
    raise AssertionError(config)


def loaded(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> dict[str, nn.Module]:
    networks = {name: network(part) for name, part in checkpoint.parts.items()}
    for name, part in checkpoint.parts.items():
        load_part(part, networks[name], "cpu", dtype)
    return networks


def weights(networks: dict[str, nn.Module]) -> dict[str, Tensor]:
    return {f"{a}.{key}": v for a, n in networks.items() for key, v in n.state_dict().items()}


def equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert not [k for k in ours if not torch.equal(ours[k], theirs[k])]


@pytest.mark.parametrize("name", FOLDERS)
def test_both_layouts_are_the_same_model(name: str, tmp_path: Path) -> None:
    model = tiny(name)
    single = open_checkpoint(model.write_single(tmp_path / "x.safetensors", torch.float32))
    folder = open_checkpoint(model.write_folder(tmp_path / "x", torch.float32))
    assert (single.kind, single.family) == (folder.kind, folder.family) == ("model", model.family)
    assert (single.layout, folder.layout) == ("single", "folder")
    assert (single.precision, folder.precision) == ("float32", "float32")
    assert folder.prediction_type == "v_prediction"
    assert single.parts.keys() == folder.parts.keys()
    equal(weights(loaded(single)), weights(loaded(folder)))
    # Every number once: what arrives is neither a copy of something else nor left out.
    whole = sum(p.numel() for n in model.networks.values() for p in n.parameters())
    unused = 99 * 48 + 99 if name == "ldm" else 0
    assert sum(t.numel() for t in weights(loaded(folder)).values()) == whole - unused


@pytest.mark.parametrize("name", FOLDERS)
def test_both_layouts_have_the_same_sizes(name: str, tmp_path: Path) -> None:
    model = tiny(name)
    single = open_checkpoint(model.write_single(tmp_path / "x.safetensors", torch.float32))
    folder = open_checkpoint(model.write_folder(tmp_path / "x", torch.float32))
    for part, ours in single.parts.items():
        theirs = folder.parts[part].config
        differ = {f for f in ours.config.__slots__ if getattr(ours.config, f) != getattr(theirs, f)}
        # What no shape tells: hints for half precision, activations, paddings, the training size.
        assert differ <= {"upcast_attention", "activation", "pad_id"}, (part, differ)


@pytest.mark.parametrize(("name", "dtype"), thinned(product(FAMILIES, DTYPES), every=2))
def test_single_files_arrive_exactly(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    path = tiny(name).write_single(tmp_path / "x.safetensors", dtype)
    checkpoint, stored = open_checkpoint(path), load_file(path)
    unet = loaded(checkpoint, dtype)["unet"].state_dict()
    prefix = "" if name == "ddpm" else "model.diffusion_model."
    equal(unet, {k.removeprefix(prefix): v for k, v in stored.items() if k.startswith(prefix)})
    widened = loaded(checkpoint, torch.float32)["unet"].state_dict()
    equal(widened, {key: value.float() for key, value in unet.items()})
    assert checkpoint.precision == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("name", sorted(FAMILIES))
@torch.inference_mode()
def test_the_loaded_network_computes_what_the_writer_does(name: str, tmp_path: Path) -> None:
    model = tiny(name)
    path = model.write_single(tmp_path / "x.safetensors", torch.float32)
    ours: Any = loaded(open_checkpoint(path))["unet"]
    theirs: Any = model.networks["unet"]
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(1, theirs.config.in_channels, 8, 12, generator=generator)
    t = torch.tensor([431.0])
    if isinstance(ours.config, DDPMConfig) or ours.config.attention == "plain":
        want, got = theirs(x, t).sample, ours(x, t)
    else:
        context = torch.randn(1, 5, ours.config.context_dim, generator=generator)
        extra, added = None, None
        if ours.config.added_dim:
            pooled, count = torch.randn(1, 96, generator=generator), ours.config.added_dim - 96
            ids = torch.full((1, count // 256), 64.0)
            extra = {"text_embeds": pooled, "time_ids": ids}
            added = torch.cat([pooled, theirs.add_time_proj(ids[0]).reshape(1, -1)], dim=1)
        want, got = (
            theirs(x, t, context, added_cond_kwargs=extra).sample,
            ours(x, t, context, added),
        )
    assert float((want - got).abs().max() / want.abs().max()) < 2e-5


@pytest.mark.parametrize("name", ["sd1", "sd1-inpaint", "sd2", "sdxl", "refiner", "ldm"])
def test_diffusers_reads_our_single_files_alike(name: str) -> None:
    """The table in layouts.py is judged by diffusers' own conversion."""
    model = tiny(name)
    unet: Any = model.networks["unet"]
    converted = single_file_utils.convert_ldm_unet_checkpoint(unet_single(unet), dict(unet.config))
    equal(dict(converted), unet.state_dict())
    vae: Any = model.networks.get("vae") or model.networks["vqvae"]
    converted = single_file_utils.convert_ldm_vae_checkpoint(
        model.single(model.networks), dict(vae.config)
    )
    equal(dict(converted), vae.state_dict())


@pytest.mark.parametrize(
    ("name", "stem"),
    [("sd2", "cond_stage_model.model."), ("sdxl", "conditioner.embedders.1.model.")],
)
def test_diffusers_reads_our_open_clip_alike(name: str, stem: str) -> None:
    model = tiny(name)
    text: Any = model.networks["text_encoder_2" if name == "sdxl" else "text_encoder"]
    state = model.single(model.networks)
    if name == "sd2":
        # diffusers knows which layer to leave out by its number in the published file alone.
        state = {k: v for k, v in state.items() if ".resblocks.2." not in k}
    converted = single_file_utils.convert_open_clip_checkpoint(text, state, prefix=stem)
    wanted = {k.removeprefix("text_model."): v for k, v in text.state_dict().items()}
    found = {k.removeprefix("text_model."): v for k, v in converted.items()}
    equal({k: v for k, v in found.items() if k in wanted}, wanted)


def test_variants_and_shards(tmp_path: Path) -> None:
    model = tiny("sdxl")
    model.write_folder(tmp_path / "x", torch.float32, max_shard_size="200KB")
    assert len(list((tmp_path / "x" / "unet").glob("*-of-*.safetensors"))) > 1
    whole = weights(loaded(open_checkpoint(tmp_path / "x")))
    model.write_folder(tmp_path / "y", torch.float16, variant="fp16")
    only = open_checkpoint(tmp_path / "y")
    assert only.precision == "float16"
    equal(weights(loaded(only)), {k: v.half().float() for k, v in whole.items()})
    tiny("sdxl", seed=50).write_folder(tmp_path / "y", torch.float32)
    assert open_checkpoint(tmp_path / "y").precision == "float32"
    asked = open_checkpoint(tmp_path / "y", variant="fp16")
    equal(weights(loaded(asked)), weights(loaded(only)))
    assert asked.force_zeros_for_empty_prompt
