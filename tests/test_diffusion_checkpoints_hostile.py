"""Files that are damaged, foreign or hostile: refused with a sentence, before memory is taken."""

import json
import os
import pickle
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffusion.checkpoints import open_checkpoint
from diffusion.checkpoints.header import MAX_HEADER_BYTES, read_header, read_numbers
from diffusion.errors import CheckpointError
from tests.checkpoint_files import describe, head, sparse
from tests.test_diffusion_checkpoints_headers import header

ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def written(path: Path, table: dict[str, Any], data: bytes = b"\0" * 8) -> Path:
    path.write_bytes(head(table) + data)
    return path


DAMAGED: dict[str, tuple[Any, bytes, str]] = {
    "unknown dtype": ({"a": {**ONE, "dtype": "F31"}}, b"\0" * 8, "dtype 'F31'"),
    "dtype of no type": ({"a": {**ONE, "dtype": ["F32"]}}, b"\0" * 8, "dtype"),
    "negative shape": ({"a": {**ONE, "shape": [-2]}}, b"\0" * 8, "shape"),
    "fractional shape": ({"a": {**ONE, "shape": [2.0]}}, b"\0" * 8, "shape"),
    "true in a shape": ({"a": {**ONE, "shape": [True, 2]}}, b"\0" * 8, "shape"),
    "deep shape": ({"a": {**ONE, "shape": [1] * 8 + [2]}}, b"\0" * 8, "shape"),
    "huge shape": ({"a": {**ONE, "shape": [2**62, 2**62]}}, b"\0" * 8, "needs"),
    "backwards": ({"a": {**ONE, "data_offsets": [8, 0]}}, b"\0" * 8, "offsets"),
    "three offsets": ({"a": {**ONE, "data_offsets": [0, 4, 8]}}, b"\0" * 8, "offsets"),
    "wrong size": ({"a": {**ONE, "data_offsets": [0, 4]}}, b"\0" * 4, "needs 8 bytes"),
    "hole": ({"a": ONE, "b": {**ONE, "data_offsets": [12, 20]}}, b"\0" * 20, "hole"),
    "overlap": ({"a": ONE, "b": {**ONE, "data_offsets": [4, 12]}}, b"\0" * 12, "overlaps"),
    "cut off": ({"a": ONE}, b"\0" * 7, "cut off"),
    "too long": ({"a": ONE}, b"\0" * 9, "goes on for 1 bytes"),
    "extra field": ({"a": {**ONE, "code": "x"}}, b"\0" * 8, "not described"),
    "no fields": ({"a": []}, b"", "not described"),
    "metadata of numbers": ({"__metadata__": {"a": 1}, "a": ONE}, b"\0" * 8, "metadata"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_heads(name: str, tmp_path: Path) -> None:
    table, data, said = DAMAGED[name]
    path = written(tmp_path / "x.safetensors", table, data)
    with pytest.raises(CheckpointError, match=said):
        read_header(path)


def test_a_sound_head_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "x.safetensors", {"__metadata__": {"k": "v"}, "a": ONE})
    found = read_header(path)
    assert found.metadata == {"k": "v"}
    assert found.tensors["a"].shape == (2,)
    assert read_numbers(path, found.tensors["a"]) == (0.0, 0.0)
    assert found.tensors["a"].end == path.stat().st_size


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"\x08", "no safetensors"),
        (b"PK\x03\x04" + b"\0" * 60, "is a pickle"),
        (pickle.dumps({"a": [1] * 50}, protocol=2), "is a pickle"),
        (pickle.dumps({"a": [1] * 50}, protocol=4), "is a pickle"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"GGUF" + b"\0" * 60, "GGUF"),
        (b"<!DOCTYPE html><html>" + b" " * 60, "web page"),
        ((2**63).to_bytes(8, "little") + b"{}", "limit"),
        ((100).to_bytes(8, "little") + b'{"a":1}', "cut off"),
        ((MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b"{" + b" " * 99, "limit"),
        ((8).to_bytes(8, "little") + b'{"a":1,}', "damaged head"),
        ((10).to_bytes(8, "little") + b'{"a":NaN}\n', "damaged head"),
        ((14).to_bytes(8, "little") + b'{"a":1,"a":2} ', "stands there twice"),
        ((4).to_bytes(8, "little") + b'{"\xff"', "damaged head"),
        ((40_000).to_bytes(8, "little") + b'{"a":' + b"[" * 39_995, "damaged head"),
    ],
)
def test_what_is_no_safetensors_file(data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=said):
        open_checkpoint(path)


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".bin", ".PTH"])
def test_pickles_are_never_opened(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02.")
    with pytest.raises(CheckpointError, match=r"never opened here.*safetensors file"):
        open_checkpoint(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is missing"):
        open_checkpoint(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match="no folder of a model"):
        open_checkpoint(tmp_path)
    os.mkfifo(tmp_path / "x.safetensors")
    held = os.open(tmp_path / "x.safetensors", os.O_RDWR)
    with pytest.raises(CheckpointError, match="no regular file"):
        open_checkpoint(tmp_path / "x.safetensors")
    os.close(held)


SMALL = {
    "first_stage_model.decoder.conv_in.weight": ("F32", [4, 2, 1, 1]),
    "betas": ("F32", [3]),
    "scale_factor": ("F32", []),
    "model.diffusion_model.input_blocks.0.0.weight": ("F16", [2, 2, 1, 1]),
}


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    edits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 200),
)
def test_random_edits_raise_nothing_else(
    tmp_path: Path, edits: list[tuple[int, int]], cut: int
) -> None:
    table, length = describe(SMALL)
    data = bytearray(head(table) + b"\0" * length)
    for position, value in edits:
        data[position % len(data)] = value
    path = tmp_path / "fuzzed.safetensors"
    path.write_bytes(data[: len(data) - cut])
    tracemalloc.start()
    try:
        open_checkpoint(path)
    except CheckpointError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1_000_000


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_set_of_tensors_is_described_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    """Tensors lost, reshaped or renamed: never anything but a description or a CheckpointError."""
    whole = header("ldm_celebahq")
    keys = sorted(key for key in whole if not key.startswith("model_ema."))
    tensors = {key: whole[key] for key in keys}
    for key in data.draw(st.lists(st.sampled_from(keys), max_size=4)):
        shape = data.draw(st.lists(st.sampled_from([0, 1, 3, 224, 10**6]), max_size=4))
        kept = data.draw(st.booleans())
        if kept and key in tensors:
            tensors[key] = ("F32", shape if len(shape) < 4 else [min(each, 300) for each in shape])
        else:
            tensors.pop(key, None)
    try:
        open_checkpoint(sparse(tmp_path / "x.safetensors", tensors))
    except CheckpointError:
        pass
    except OSError:
        # The file system has no room even for a sparse file of that size.
        pass


KINDS = {
    "lora": ({"lora_unet_down_blocks_0_attentions_0_x_0_attn2_to_k.lora_down.weight":
              ("F16", [4, 768]), "lora_te_text_model_encoder_layers_0_mlp_fc1.alpha": ("F16", [])},
             "sd1"),
    "lora sdxl": ({"unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight":
                   ("F16", [4, 2048])}, "sdxl"),
    "lora old": ({"unet.mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora"
                  ".down.weight": ("F16", [4, 1024])}, "sd2"),
    "lora loha": ({"lora_unet_x_attn2_to_k.hada_w1_a": ("F16", [320, 4]),
                   "lora_unet_x_attn2_to_k.hada_w1_b": ("F16", [4, 768])}, "sd1"),
    "embedding": ({"emb_params": ("F32", [3, 768])}, "sd1"),
    "embedding token": ({"<cat-toy>": ("F32", [1024])}, "sd2"),
    "embedding xl": ({"clip_l": ("F32", [3, 768]), "clip_g": ("F32", [3, 1280])}, "sdxl"),
    "upscaler": ({"conv_first.weight": ("F32", [64, 3, 3, 3]),
                  "body.0.rdb1.conv1.weight": ("F32", [32, 64, 3, 3])}, None),
    "upscaler old": ({"model.0.weight": ("F32", [64, 3, 3, 3]),
                      "model.1.sub.0.RDB1.conv1.0.weight": ("F32", [32, 64, 3, 3])}, None),
    "upscaler compact": ({f"body.{i}.weight": ("F32", [64, 3, 3, 3]) for i in range(3)}, None),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_addons_are_told_by_their_tensors(name: str, tmp_path: Path) -> None:
    tensors, family = KINDS[name]
    checkpoint = open_checkpoint(sparse(tmp_path / "model.safetensors", tensors))
    kind = name.split()[0]
    assert (checkpoint.kind, checkpoint.family) == (kind, family)
    assert not checkpoint.parts
    with pytest.raises(CheckpointError, match="put it into the folder of"):
        checkpoint.require("model")
    checkpoint.require("model", "lora", "embedding", "upscaler")


def test_an_unknown_make_names_its_tensors(tmp_path: Path) -> None:
    path = sparse(tmp_path / "x.safetensors", {"blocks.0.mlp.weight": ("F32", [3, 3, 3])})
    with pytest.raises(CheckpointError, match=r"no make .* blocks\.0\.mlp\.weight"):
        open_checkpoint(path)


def test_metadata_is_bounded(tmp_path: Path) -> None:
    metadata = {"ss_tag_frequency": "x" * 100_000, **{f"k{i}": "v" for i in range(500)}}
    tensors = {"emb_params": ("F32", [3, 768])}
    path = sparse(tmp_path / "x.safetensors", tensors, metadata=metadata)
    found = open_checkpoint(path).metadata
    assert len(found) == 100
    assert max(map(len, found.values())) <= 2000


def test_the_hash_is_that_of_the_file(tmp_path: Path) -> None:
    path = sparse(tmp_path / "x.safetensors", {"emb_params": ("F32", [3, 768])})
    before = open_checkpoint(path).sha256()
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    assert open_checkpoint(path).sha256() != before
    assert len(before) == 64


def folder(path: Path, config: dict[str, object]) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    alone = {k[18:]: v for k, v in header("sd15").items() if k.startswith("first_stage_model.")}
    sparse(path / "diffusion_pytorch_model.safetensors", alone)
    return path


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "huge": (
        {"_class_name": "AutoencoderKL", "block_out_channels": [60_000] * 4,
         "down_block_types": ["DownEncoderBlock2D"] * 4,
         "up_block_types": ["UpDecoderBlock2D"] * 4, "layers_per_block": 200},
        "has .* numbers, the file holds",
    ),
    "huge width": ({"_class_name": "AutoencoderKL", "block_out_channels": [10**9]}, "65536"),
    "number as text": ({"_class_name": "AutoencoderKL", "layers_per_block": "2"}, "whole number"),
    "shifted": ({"_class_name": "AutoencoderKL", "shift_factor": 0.1}, "nothing else"),
    "unknown field": ({"_class_name": "AutoencoderKL", "new_thing": 3}, "new_thing is 3"),
    "image embeds": (
        {"_class_name": "UNet2DConditionModel", "addition_embed_type": "text_image"},
        "addition_embed_type is 'text_image'",
    ),
    "class projection": (
        {"_class_name": "UNet2DConditionModel", "class_embed_type": "projection"},
        "class_embed_type is 'projection'",
    ),
    "dual": (
        {"_class_name": "UNet2DConditionModel", "dual_cross_attention": True},
        "dual_cross_attention is True",
    ),
    "only cross": (
        {"_class_name": "UNet2DConditionModel", "only_cross_attention": [True] * 4},
        "only_cross_attention",
    ),
    "foreign blocks": (
        {"_class_name": "UNet2DConditionModel", "down_block_types": ["SkipDownBlock2D"] * 4},
        "down_block_types",
    ),
    "heads": ({"_class_name": "UNet2DConditionModel", "attention_head_dim": 7}, "divisors"),
    "foreign class": ({"_class_name": "SD3Transformer2DModel"}, "no folder of a model"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_configurations_that_are_refused(name: str, tmp_path: Path) -> None:
    config, said = REFUSED[name]
    path = folder(tmp_path / "x", config)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=said):
            open_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


SD1_VAE = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
}


def test_shards_may_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    path = folder(tmp_path / "x", SD1_VAE)
    weights = path / "diffusion_pytorch_model.safetensors"
    weights.rename(tmp_path / "outside.safetensors")
    index = path / "diffusion_pytorch_model.safetensors.index.json"
    for name in ("../outside.safetensors", "/etc/passwd", "a\\b.safetensors", ".."):
        index.write_text(json.dumps({"weight_map": {"a": name}}), encoding="utf-8")
        with pytest.raises(CheckpointError, match="no name of a shard"):
            open_checkpoint(path)
    index.write_text(json.dumps({"weight_map": {"a": "in.safetensors"}}), encoding="utf-8")
    (path / "in.safetensors").symlink_to(tmp_path / "outside.safetensors")
    with pytest.raises(CheckpointError, match="leads out of"):
        open_checkpoint(path)
    index.unlink()
    weights.symlink_to(tmp_path / "outside.safetensors")
    with pytest.raises(CheckpointError, match="leads out of"):
        open_checkpoint(path)


def test_a_hub_cache_is_a_folder_of_links(tmp_path: Path) -> None:
    """The names in a cache are links to a store beside the snapshots."""
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "blobs").mkdir()
    path = folder(tmp_path / "snapshots" / "abc", SD1_VAE)
    weights = path / "diffusion_pytorch_model.safetensors"
    weights.rename(tmp_path / "blobs" / "123")
    weights.symlink_to(Path("../../blobs/123"))
    # The names inside are those of the other layout: it is the place that is accepted.
    with pytest.raises(CheckpointError, match="not whole: missing"):
        open_checkpoint(path)


def test_a_folder_of_pickles_is_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "x", SD1_VAE)
    weights = path / "diffusion_pytorch_model.safetensors"
    weights.rename(path / "diffusion_pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pickles only.*safetensors files of the same model"):
        open_checkpoint(path)


def test_newer_families_are_named(tmp_path: Path) -> None:
    (tmp_path / "transformer").mkdir()
    index = {"_class_name": "StableDiffusion3Pipeline", "transformer": ["diffusers", "X"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"StableDiffusion3Pipeline.*not known here"):
        open_checkpoint(tmp_path)


def test_describing_needs_no_torch() -> None:
    code = "import sys, diffusion.checkpoints; print('torch' in sys.modules)"
    done = subprocess.run(  # noqa: S603 - our own interpreter and our own code
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
