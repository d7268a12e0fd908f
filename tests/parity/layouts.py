"""Tiny models of every family with random weights, written in both layouts.

The networks are diffusers' and transformers' own. A folder is what their `save_pretrained` writes;
a single file is made by the table of names below, which knows nothing of our loader.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DDIMScheduler
from safetensors.torch import save_file
from torch import Tensor, nn

State = dict[str, Tensor]
RESNET = (
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("conv_shortcut", "skip_connection"),
)
UNET_HEAD = (
    ("time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.linear_2", "time_embed.2"),
    ("add_embedding.linear_1", "label_emb.0.0"),
    ("add_embedding.linear_2", "label_emb.0.2"),
    ("conv_in", "input_blocks.0.0"),
    ("conv_norm_out", "out.0"),
    ("conv_out", "out.2"),
)
OPEN_CLIP = (
    ("embeddings.token_embedding.weight", "token_embedding.weight"),
    ("embeddings.position_embedding.weight", "positional_embedding"),
    ("encoder.layers.", "transformer.resblocks."),
    ("self_attn.out_proj", "attn.out_proj"),
    ("layer_norm1", "ln_1"),
    ("layer_norm2", "ln_2"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
    ("final_layer_norm", "ln_final"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiny:
    """One model: its networks by the folder they live in, and its single file."""

    name: str
    family: str
    pipeline: str
    networks: Mapping[str, nn.Module]
    single: Callable[[Mapping[str, nn.Module]], State]

    def write_folder(self, path: Path, dtype: torch.dtype, **options: object) -> Path:
        for name, network in self.networks.items():
            network.to(dtype).save_pretrained(path / name, safe_serialization=True, **options)  # type: ignore[operator]
        DDIMScheduler(prediction_type="v_prediction").save_pretrained(path / "scheduler")
        index: dict[str, object] = {"_class_name": self.pipeline}
        index |= {name: ["diffusers", type(n).__name__] for name, n in self.networks.items()}
        (path / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
        return path

    def write_single(self, path: Path, dtype: torch.dtype) -> Path:
        tensors = {k: v.to(dtype).contiguous() for k, v in self.single(self.networks).items()}
        # Damaged on purpose, as merged files have it.
        if self.family == "sd1":
            key = "cond_stage_model.transformer.text_model.embeddings.position_ids"
            tensors[key] = torch.zeros(1, 77, dtype=torch.float16)
        save_file(tensors, path)
        return path


def unet_single(unet: nn.Module, prefix: str = "model.diffusion_model.") -> State:
    state: State = unet.state_dict()
    per_level = int(unet.config.layers_per_block) + 1  # type: ignore[union-attr, arg-type]
    attends = {k.split(".")[1] for k in state if re.match(r"up_blocks\.\d+\.attentions", k)}
    out: State = {}
    for key, value in state.items():
        name = next((b + key[len(a) :] for a, b in UNET_HEAD if key.startswith(a + ".")), None)
        out[prefix + (name or _unet_name(key, per_level, attends))] = value
    return _fused(out)


def _unet_name(key: str, per_level: int, attends: set[str]) -> str:
    found = re.fullmatch(
        r"(down|up|mid)_blocks?\.(?:(\d+)\.)?(resnets|attentions|\w+samplers)\.(\d+)\.(.*)", key
    )
    assert found, key
    way, level, kind, index, rest = found.groups()
    layer = "0" if kind == "resnets" else "1"
    if kind == "resnets":
        rest = next(b + rest[len(a) :] for a, b in RESNET if rest.startswith(a + "."))
    if way == "mid":
        return f"middle_block.{2 * int(index) if kind == 'resnets' else 1}.{rest}"
    if way == "down":
        if kind == "downsamplers":
            block = (int(level) + 1) * per_level
            return f"input_blocks.{block}.0.{rest.replace('conv', 'op')}"
        return f"input_blocks.{int(level) * per_level + int(index) + 1}.{layer}.{rest}"
    if kind == "upsamplers":
        place = 2 if level in attends else 1
        return f"output_blocks.{int(level) * per_level + per_level - 1}.{place}.{rest}"
    return f"output_blocks.{int(level) * per_level + int(index)}.{layer}.{rest}"


def _fused(state: State) -> State:
    """Join queries, keys and values of plain attention, head by head (32 wide each)."""
    out = {}
    for key, value in state.items():
        if ".transformer_blocks." in key or not re.search(r"\.1\.(to_|group_norm)", key):
            out[key] = value
        elif ".group_norm." in key:
            out[key.replace("group_norm", "norm")] = value
        elif ".to_out.0." in key:
            out[key.replace("to_out.0", "proj_out")] = value[..., None] if value.ndim > 1 else value
        elif ".to_q." in key:
            three = [state[key.replace("to_q", f"to_{each}")] for each in "qkv"]
            heads = len(value) // 32
            rows = [part[32 * head : 32 * (head + 1)] for head in range(heads) for part in three]
            joined = torch.cat(rows)
            out[key.replace("to_q", "qkv")] = joined[..., None] if value.ndim > 1 else joined
    return out


def vae_single(vae: nn.Module, prefix: str = "first_stage_model.") -> State:
    state: State = vae.state_dict()
    levels = len(vae.config.block_out_channels)  # type: ignore[union-attr, arg-type]
    return {prefix + _vae_name(k, levels): _conv(k, v) for k, v in state.items()}


def ddpm_single(unet: nn.Module) -> State:
    levels = len(unet.config.block_out_channels)  # type: ignore[union-attr, arg-type]
    out = {}
    for key, value in unet.state_dict().items():
        name = _vae_name(key, levels).replace("time_emb_proj", "temb_proj")
        name = name.replace("time_embedding.linear_1", "temb.dense.0")
        out[name.replace("time_embedding.linear_2", "temb.dense.1")] = _conv(key, value)
    return out


def _conv(key: str, value: Tensor) -> Tensor:
    return value[:, :, None, None] if ".to_" in key and value.ndim == 2 else value


def _vae_name(key: str, levels: int) -> str:
    key = re.sub(r"up_blocks\.(\d+)", lambda m: f"up.{levels - 1 - int(m[1])}", key)
    for old, new in (
        ("mid_block.resnets.0", "mid.block_1"),
        ("mid_block.resnets.1", "mid.block_2"),
        ("mid_block.attentions.0", "mid.attn_1"),
        ("down_blocks", "down"),
        ("resnets", "block"),
        ("attentions", "attn"),
        ("downsamplers.0", "downsample"),
        ("upsamplers.0", "upsample"),
        ("conv_shortcut", "nin_shortcut"),
        ("conv_norm_out", "norm_out"),
        ("group_norm", "norm"),
        ("to_out.0", "proj_out"),
        ("to_q", "q"),
        ("to_k", "k"),
        ("to_v", "v"),
    ):
        key = key.replace(old, new)
    return key


def clip_single(text: nn.Module, stem: str) -> State:
    return {
        f"{stem}transformer.text_model.{k.removeprefix('text_model.')}": v
        for k, v in text.state_dict().items()
    }


def open_clip_single(text: nn.Module, stem: str, *, extra: bool) -> State:
    """`extra` adds the last layer, which hub folders leave out."""
    state = {k.removeprefix("text_model."): v for k, v in text.state_dict().items()}
    out: State = {}
    for key, value in state.items():
        if re.search(r"[qkv]_proj", key):
            if "q_proj" in key:
                joined = torch.cat([state[key.replace("q_proj", f"{x}_proj")] for x in "qkv"])
                out[key.replace("self_attn.q_proj.", "attn.in_proj_")] = joined
        elif key == "text_projection.weight":
            out["text_projection"] = value.t()
        else:
            out[key] = value
    for old, new in OPEN_CLIP:
        out = {key.replace(old, new): value for key, value in out.items()}
    if extra:
        last = max(int(k.split(".")[2]) for k in out if ".resblocks." in k)
        old, new = f"resblocks.{last}.", f"resblocks.{last + 1}."
        out |= {k.replace(old, new): v + 1 for k, v in out.items() if old in k}
        width = len(out["ln_final.weight"])
        out["text_projection"] = torch.ones(width, width)
    out["logit_scale"] = torch.tensor(4.6)
    return {f"{stem}model.{key}": value for key, value in out.items()}


def bert_single(bert: nn.Module) -> State:
    out = {}
    for key, value in bert.state_dict().items():
        name = key.removeprefix("model.")
        name = name.replace("embed_tokens", "token_emb").replace("embed_positions", "pos_emb.emb")
        name = re.sub(r"^layer_norm", "norm", name)
        found = re.fullmatch(r"layers\.(\d+)\.(.*)", name)
        if found:
            rest, even = found[2], 2 * int(found[1])
            odd = rest.startswith(("final_layer_norm", "fc"))
            for old, new in (
                ("self_attn_layer_norm", "0"),
                ("final_layer_norm", "0"),
                ("self_attn.out_proj", "1.to_out"),
                ("self_attn.q_proj", "1.to_q"),
                ("self_attn.k_proj", "1.to_k"),
                ("self_attn.v_proj", "1.to_v"),
                ("fc1", "1.net.0.0"),
                ("fc2", "1.net.2"),
            ):
                rest = rest.replace(old, new)
            name = f"attn_layers.layers.{even + odd}.{rest}"
        out[f"cond_stage_model.transformer.{name}"] = value
    return out
