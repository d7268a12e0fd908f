"""LoRA files: what is read, what is refused, what is reported, and whom they fit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from diffusion.adapters import load_lora, lora_fits, match
from diffusion.adapters.alphas import alpha_for, metadata_alpha
from diffusion.adapters.keys import cut
from diffusion.adapters.names import unet_names
from diffusion.errors import CheckpointError
from diffusion.networks.configs import UNetConfig
from diffusion.networks.unet import UNet

CONFIG = UNetConfig(
    model_channels=32, context_dim=24, channel_mult=(1,), transformer_depth=(1,), heads=4
)
KEY = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
FULL = {
    "sd1": UNetConfig(),
    "sd2": UNetConfig(heads=None, head_dim=64, context_dim=1024, linear_projection=True),
    "sdxl": UNetConfig(
        channel_mult=(1, 2, 4),
        transformer_depth=(0, 2, 10),
        middle_depth=10,
        heads=None,
        head_dim=64,
        context_dim=2048,
        linear_projection=True,
        added_dim=2816,
    ),
}


@pytest.fixture(scope="module")
def unet() -> UNet:
    return UNet(CONFIG).eval()


def pair(rank: int = 2, inner: int = 24, out: int = 32, name: str = KEY) -> dict[str, Tensor]:
    return {
        f"{name}.lora_down.weight": torch.ones(rank, inner),
        f"{name}.lora_up.weight": torch.ones(out, rank),
    }


def saved(tmp_path: Path, tensors: dict[str, Tensor], head: dict[str, str] | None = None) -> Path:
    path = tmp_path / "lora.safetensors"
    save_file(tensors, path, metadata=head)
    return path


def test_keys_without_a_layer_are_reported(unet: UNet, tmp_path: Path) -> None:
    stray = pair(name="lora_unet_nowhere") | {f"{KEY}.oft_blocks": torch.ones(2, 2)}
    norm = {f"{KEY}.w_norm": torch.ones(32)}
    matched = match(load_lora(saved(tmp_path, pair() | stray | norm)), unet)
    assert sorted(matched.unmatched) == sorted(stray | norm)
    assert len(matched.unet) == 1


BROKEN: dict[str, tuple[dict[str, Tensor], str]] = {
    "no LoRA": ({"model.diffusion_model.out.2.weight": torch.ones(2)}, "is no LoRA"),
    "only alphas": ({f"{KEY}.alpha": torch.ones(())}, "is no LoRA"),
    "infinite": (pair() | {f"{KEY}.lora_up.weight": torch.full((32, 2), torch.inf)}, "not finite"),
    "infinite alpha": (pair() | {f"{KEY}.alpha": torch.tensor(torch.nan)}, "not finite"),
    "two alphas": (pair() | {f"{KEY}.alpha": torch.ones(2)}, "one number"),
    "rank": (pair(rank=5000), "rank 5000, above 4096"),
    "integers": (pair() | {f"{KEY}.lora_up.weight": torch.ones(32, 2).int()}, "floating-point"),
    "scalar": (pair() | {f"{KEY}.lora_up.weight": torch.ones(())}, "floating-point"),
    "twice": (
        pair() | {f"{KEY}.lora_A.weight": torch.ones(2, 24)},
        "two tensors",
    ),
    "half": ({f"{KEY}.lora_down.weight": torch.ones(2, 24)}, "lacks up"),
    "ranks differ": (pair() | {f"{KEY}.lora_up.weight": torch.ones(32, 3)}, "do not go together"),
    "too wide": (pair(inner=768), "changes a weight of \\(32, 768\\).*has \\(32, 24\\).*sd1"),
    "too tall": (pair(out=64), "changes a weight of \\(64, 24\\)"),
    "two kinds": (pair() | {f"{KEY}.diff": torch.ones(32, 24)}, "lora and diff at once"),
    "core alone": ({f"{KEY}.dora_scale": torch.ones(32, 1)}, "without the factors"),
    "dora": (pair() | {f"{KEY}.dora_scale": torch.ones(1, 7)}, "do not go together"),
    "lokr half": ({f"{KEY}.lokr_w1": torch.ones(4, 2)}, "lokr_w2 is missing"),
    "bias": (pair() | {f"{KEY}.diff_b": torch.ones(31)}, "changes a weight of \\(31,\\)"),
    "two names": (
        pair() | pair(name="lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_k"),
        "under two names",
    ),
    "fits nothing": (
        pair(inner=2048, name=KEY.replace("blocks_0_att", "blocks_7_att")),
        "changes no layer of this model.*sdxl",
    ),
    # A Kronecker product that would take 10^15 numbers is refused by its shape.
    "huge": (
        {f"{KEY}.lokr_w1": torch.ones(3000, 1000), f"{KEY}.lokr_w2": torch.ones(3000, 1000)},
        "changes a weight of \\(9000000, 1000000\\)",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_unfit_files_are_refused(name: str, unet: UNet, tmp_path: Path) -> None:
    tensors, message = BROKEN[name]
    path = saved(tmp_path, tensors)
    with pytest.raises(CheckpointError, match=message) as error:
        match(load_lora(path), unet)
    assert "lora.safetensors" in str(error.value)


def test_pickles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "lora.pt").write_bytes(b"\x80\x02}.")
    with pytest.raises(CheckpointError, match="pickle"):
        load_lora(tmp_path / "lora.pt")


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "[]"])
def test_damaged_settings_in_the_head(text: str, tmp_path: Path) -> None:
    path = saved(tmp_path, pair(), {"lora_adapter_metadata": text})
    with pytest.raises(CheckpointError, match="lora_adapter_metadata"):
        load_lora(path)


def test_alphas_of_the_head() -> None:
    head = {
        "unet.lora_alpha": 8,
        "unet.alpha_pattern": {"attn1.to_q": 4, "(a+)+$": 1},
        "text_encoder.lora_alpha": 2,
        "text_encoder.use_rslora": True,
    }
    settings = metadata_alpha({"lora_adapter_metadata": json.dumps(head)})
    assert alpha_for("unet.x.attn1.to_q", 4, settings) == 4
    assert alpha_for("unet.x.cattn1.to_q", 4, settings) == 8
    assert alpha_for("unet.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", 4, settings) == 8
    assert alpha_for("text_encoder.y", 4, settings) == 4
    assert alpha_for("text_encoder_2.y", 4, settings) is None
    assert alpha_for("lora_unet_y", 4, settings) is None


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("lora_te_x.lora_up.weight", ("lora_te_x", "up")),
        ("a.processor.to_q_lora.down.weight", ("a.processor.to_q", "down")),
        ("a.to_q.lora_A.default.weight", ("a.to_q", "down")),
        ("a.to_q.lora_magnitude_vector", ("a.to_q", "magnitude")),
        ("a.to_q_lora.alpha", ("a.to_q", "alpha")),
        (".alpha", None),
        ("a.weight", None),
    ],
)
def test_cutting_keys(key: str, expected: tuple[str, str] | None) -> None:
    assert cut(key) == expected


@pytest.mark.parametrize("family", FULL)
def test_no_spelling_of_a_full_size_model_means_two_layers(family: str) -> None:
    with torch.device("meta"):
        unet = UNet(FULL[family])
    names = unet_names(unet)
    flat: dict[str, set[str]] = {}
    for spelling, name in names.items():
        flat.setdefault(spelling.replace(".", "_"), set()).add(name)
    assert all(len(layers) == 1 for layers in flat.values())
    # Every weight that can be changed has the original and diffusers' name.
    kohya = [spelling for spelling in names if spelling.startswith("lora_unet_")]
    assert len({names[s] for s in kohya if "_blocks_" in s and ("down" in s or "up_" in s)}) > 100
    lone = {names[s] for s in names if s.startswith("unet.")} ^ set(names.values())
    assert not lone


TEXT = "text_model_encoder_layers_0_self_attn_q_proj"
FITS: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {
    "kohya sd1": ({f"{KEY}.lora_down.weight": (4, 768)}, "sd1"),
    "peft sd2": ({"unet.mid_block.x.attn2.to_k.lora_A.weight": (4, 1024)}, "sd2"),
    "old sdxl": ({"unet.x.attn2.processor.to_k_lora.down.weight": (4, 2048)}, "sdxl"),
    "loha": ({f"{KEY}.hada_w1_b": (4, 768)}, "sd1"),
    "lokr": ({f"{KEY}.lokr_w1": (4, 8), f"{KEY}.lokr_w2": (80, 256)}, "sdxl"),
    "lokr factored": ({f"{KEY}.lokr_w1": (4, 8), f"{KEY}.lokr_w2_b": (4, 96)}, "sd1"),
    "sdxl text": ({f"lora_te2_{TEXT}.lora_down.weight": (4, 1280)}, "sdxl"),
    "sd1 text": ({f"lora_te_{TEXT}.lora_down.weight": (4, 768)}, "sd1"),
    "sd2 text": ({f"lora_te_{TEXT}.lora_down.weight": (4, 1024)}, "sd2"),
    "sdxl self-attention": (
        {"lora_unet_input_blocks_7_1_transformer_blocks_9_attn1_to_q.lora_down.weight": (4, 1280)},
        "sdxl",
    ),
    "sd1 projections": (
        {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": (4, 320, 1, 1)},
        "sd1",
    ),
    "sd2 projections": ({"unet.down_blocks.0.attentions.0.proj_in.lora_A.weight": (4, 320)}, "sd2"),
    "flux": ({"lora_unet_double_blocks_0_img_attn_proj.lora_down.weight": (4, 3072)}, "unknown"),
    "other context": ({f"{KEY}.lora_down.weight": (4, 1280)}, "unknown"),
    "nothing": ({"a.weight": (3,)}, "unknown"),
}


@pytest.mark.parametrize("name", FITS)
def test_whom_a_file_fits(name: str) -> None:
    shapes, family = FITS[name]
    assert lora_fits(shapes) == family


def test_saying_whom_a_file_fits_needs_no_torch() -> None:
    code = "import sys; from diffusion.adapters import lora_fits; print('torch' in sys.modules)"
    root = Path(__file__).parent.parent
    done = subprocess.run(  # noqa: S603 - our own interpreter and our own code
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
