"""Models as large as the published ones, with random weights, written in both layouts.

Promises: every network is diffusers' or transformers' own, in the sizes of the published
configuration; the folder and the single file hold the same numbers.
Run: python -m tests.benchmarks.full_size_models FAMILY DIR
"""

import gzip
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from tests.benchmarks.full_size_families import FAMILIES, FILES, FOLDER, SINGLE
from tests.parity.tinies import FAMILIES as WRITERS
from tests.parity.twins import fill

_TABLE: Final = Path(__file__).parents[2] / "diffusion/data/clip/bpe_simple_vocab_16e6.txt.gz"
_MERGES: Final = 49152 - 256 - 2
_BETAS: Final[dict[str, Any]] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
Networks = dict[str, nn.Module]


def numbers(name: str) -> int:
    """Count a family's weights, without making them."""
    with torch.device("meta"):
        networks = _MADE[name][0]()
    return sum(p.numel() for n in networks.values() for p in n.parameters())


def write(name: str, root: Path) -> None:
    """Write a family in both layouts into `root`; memory holds it once, and the joined layers."""
    family, (build, scheduler) = FAMILIES[name], _MADE[name]
    with torch.device("meta"):
        networks = {part: network.to(family.dtype) for part, network in build().items()}
    for seed, part in enumerate(networks):
        networks[part] = networks[part].to_empty(device="cpu").eval()
        fill(networks[part], seed)
    _write_folder(networks, scheduler(), root / FILES[FOLDER], xl=family.is_xl)
    tensors = WRITERS[family.writer][3](networks)
    save_file({key: value.contiguous() for key, value in tensors.items()}, root / FILES[SINGLE])


def _write_folder(networks: Networks, scheduler: object, folder: Path, *, xl: bool) -> None:
    vocabulary, merges = clip_table()
    parts: dict[str, Any] = {**networks, "scheduler": scheduler}
    tokenizers = []
    for name, network in networks.items():
        if name.startswith("text_encoder"):
            # OpenCLIP pads with the token of id 0, CLIP with its end token.
            pad = "!" if _is_open(network) else "<|endoftext|>"
            tokenizers.append(name.replace("text_encoder", "tokenizer"))
            parts[tokenizers[-1]] = CLIPTokenizer(
                vocab=vocabulary, merges=list[Any](merges), pad_token=pad, model_max_length=77
            )
    if xl:
        pipeline = StableDiffusionXLPipeline(**parts)
    else:
        none = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        pipeline = StableDiffusionPipeline(**parts, **none)
    pipeline.save_pretrained(folder, safe_serialization=True)
    for name in tokenizers:
        _as_published(folder / name, vocabulary, merges)


def clip_table() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return the vocabulary and the merges that CLIP's published table stands for."""
    lines = gzip.decompress(_TABLE.read_bytes()).decode().split("\n")[1 : 1 + _MERGES]
    merges = [(a, b) for a, b in (line.split() for line in lines)]
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    letters = [chr(byte) for byte in plain] + [chr(256 + i) for i in range(len(others))]
    tokens = [*letters, *(letter + "</w>" for letter in letters)]
    tokens += ["".join(pair) for pair in merges] + ["<|startoftext|>", "<|endoftext|>"]
    return {token: i for i, token in enumerate(tokens)}, merges


def _as_published(
    folder: Path, vocabulary: Mapping[str, int], merges: list[tuple[str, str]]
) -> None:
    """Hub folders of these families hold the two older files in place of the newer one."""
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _is_open(text: nn.Module) -> bool:
    config: Any = text.config
    return bool(config.hidden_act == "gelu")


def _unet(
    context: int,
    heads: int | list[int],
    *,
    widths: tuple[int, ...] = (320, 640, 1280, 1280),
    attends: tuple[bool, ...] = (True, True, True, False),
    linear: bool = False,
    depth: int | list[int] = 1,
    added: int = 0,
) -> nn.Module:
    up, down = reversed(attends), attends
    network: nn.Module = UNet2DConditionModel(
        block_out_channels=widths,
        down_block_types=tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in down),
        up_block_types=tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in up),
        attention_head_dim=heads,
        cross_attention_dim=context,
        use_linear_projection=linear,
        transformer_layers_per_block=depth,
        addition_embed_type="text_time" if added else None,
        addition_time_embed_dim=256 if added else None,
        projection_class_embeddings_input_dim=added or None,
    )
    return network


def _vae(widths: tuple[int, ...] = (128, 256, 512, 512), scaling: float = 0.18215) -> nn.Module:
    network: nn.Module = AutoencoderKL(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        layers_per_block=2,
        latent_channels=4,
        scaling_factor=scaling,
    )
    return network


def _text(width: int, layers: int, act: str = "quick_gelu", projection: int = 0) -> nn.Module:
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
        hidden_act=act,
        projection_dim=projection or width,
        # As every published configuration of these families has them.
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=1,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def _sd15() -> Networks:
    return {"unet": _unet(768, 8), "vae": _vae(), "text_encoder": _text(768, 12)}


def _sd21() -> Networks:
    unet = _unet(1024, [5, 10, 20, 20], linear=True)
    return {"unet": unet, "vae": _vae(), "text_encoder": _text(1024, 23, "gelu")}


def _sdxl() -> Networks:
    unet = _unet(
        2048,
        [5, 10, 20],
        widths=(320, 640, 1280),
        attends=(False, True, True),
        linear=True,
        depth=[1, 2, 10],
        added=1280 + 6 * 256,
    )
    return {
        "unet": unet,
        "vae": _vae(scaling=0.13025),
        "text_encoder": _text(768, 12),
        "text_encoder_2": _text(1280, 32, "gelu", 1280),
    }


def _tiny_sd15() -> Networks:
    unet = _unet(64, 8, widths=(32, 64), attends=(True, False))
    return {"unet": unet, "vae": _vae((32, 64)), "text_encoder": _text(64, 2)}


def _tiny_sd21() -> Networks:
    unet = _unet(128, [1, 2], widths=(64, 128), attends=(True, False), linear=True)
    return {"unet": unet, "vae": _vae((32, 64)), "text_encoder": _text(128, 23, "gelu")}


def _tiny_sdxl() -> Networks:
    unet = _unet(
        192,
        [1, 2],
        widths=(64, 128),
        attends=(False, True),
        linear=True,
        depth=[1, 2],
        added=128 + 6 * 256,
    )
    return {
        "unet": unet,
        "vae": _vae((32, 64), 0.13025),
        "text_encoder": _text(64, 2),
        "text_encoder_2": _text(128, 3, "gelu", 128),
    }


def _pndm() -> Any:  # noqa: ANN401 - a foreign class without annotations
    betas = {k: v for k, v in _BETAS.items() if k != "clip_sample"}
    return PNDMScheduler(skip_prk_steps=True, **betas)


def _ddim() -> Any:  # noqa: ANN401 - a foreign class without annotations
    return DDIMScheduler(prediction_type="v_prediction", **_BETAS)


def _euler() -> Any:  # noqa: ANN401 - a foreign class without annotations
    return EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
    )


Build = Callable[[], Networks]
_MADE: Final[Mapping[str, tuple[Build, Callable[[], Any]]]] = {
    "sd15": (_sd15, _pndm),
    "sd21": (_sd21, _ddim),
    "sdxl": (_sdxl, _euler),
    "tiny-sd15": (_tiny_sd15, _pndm),
    "tiny-sd21": (_tiny_sd21, _ddim),
    "tiny-sdxl": (_tiny_sdxl, _euler),
}


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
