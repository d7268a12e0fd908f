"""A bot with files of weights beside its model, for the tests of what is trusted: real safetensors
files that the tiny model takes, and ways to change them.
"""

import json
import os
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

from bot.config import Config, parse_config
from bot.loading import load_configured
from bot.manifest import MANIFEST
from bot.trusted_addons import vouched
from diffusion.device import choose_device
from diffusion.model import Model
from diffusion.vouching import Vouch
from tests.bot_room import QUICK
from tests.test_diffusion_describe import write as write_describer
from tests.tiny import tiny_model, write_tiny

WORD = "zorblax"


def furnished(folder: Path) -> Config:
    """Write a model with a LoRA, an embedding and a describer; return settings that name them."""
    for name in ("loras", "embeddings"):
        (folder / name).mkdir(parents=True)
    write_tiny(folder / "model")
    write_describer(folder / "model" / "describer.safetensors")
    lora(folder / "loras" / "ink.safetensors")
    embedding(folder / "embeddings" / f"{WORD}.safetensors")
    text = (
        f'[models.emoji]\npath = "{folder}/model"\nloras = "{folder}/loras"\n'
        f'embeddings = "{folder}/embeddings"\n{QUICK}'
    )
    (folder / "config.toml").write_text(text, encoding="utf-8")
    return parse_config(text, folder / "config.toml")


def lora(path: Path, *, scale: float = 1.0, rank: int = 1) -> Path:
    """Write a LoRA that changes one layer of the tiny model."""
    layer = next(n for n, _ in tiny_model().backbone.named_modules() if n.endswith("attn1.to_q"))
    weight = tiny_model().backbone.get_submodule(layer).weight
    assert isinstance(weight, torch.Tensor)
    key = "lora_unet_" + layer.replace(".", "_")
    parts = {
        f"{key}.lora_down.weight": torch.full((rank, weight.shape[1]), scale),
        f"{key}.lora_up.weight": torch.ones(weight.shape[0], rank),
    }
    save_file(parts, path)
    return path


def embedding(path: Path, *, value: float = 0.5, vectors: int = 1) -> Path:
    """Write a textual inversion for the tiny model."""
    text = tiny_model().text
    assert text is not None
    save_file({"emb_params": torch.full((vectors, text.encoders[0].config.width), value)}, path)
    return path


def loaded(config: Config) -> Model:
    """Load the model as a start does."""
    return load_configured(config, "emoji", choose_device("cpu", "float32"))


def flip(path: Path) -> None:
    """Change one bit of the weights in place, and put the times back that can be put back."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-3, os.SEEK_END)
        (byte,) = file.read(1)
        file.seek(-3, os.SEEK_END)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap(path: Path) -> None:
    """Rename another file into a file's place, with the same size and time."""
    other = path.with_name("another.tmp")
    other.write_bytes(path.read_bytes())
    before = path.stat()
    flip(other)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def forget_times(config: Config, path: Path) -> None:
    """Let the list have the size and the times that a file has now, beside its old hash: what no
    change of a file can do, but a bad disk, or somebody with a clock of their own.
    """
    listed, name = listing(config), str(path.resolve())
    told = path.stat()
    listed[name] |= {"size": told.st_size, "modified": told.st_mtime_ns, "moved": told.st_ctime_ns}
    (config.storage.folder / MANIFEST).write_text(json.dumps({"files": listed}), encoding="utf-8")


def listing(config: Config) -> dict[str, dict[str, object]]:
    """Return what the list of trusted files holds."""
    path = config.storage.folder / MANIFEST
    if not path.exists():
        return {}
    files: dict[str, dict[str, object]] = json.loads(path.read_text(encoding="utf-8"))["files"]
    return files


def is_listed(config: Config, path: Path) -> bool:
    """Say whether a file is trusted."""
    return str(path.resolve()) in listing(config)


def guard(config: Config) -> Vouch:
    """Return what answers for the files beside the model."""
    return partial(vouched, config, "emoji")
