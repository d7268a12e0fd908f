"""A model described by its config.json alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from diffusion import CheckpointError, ModelDefaults, UnknownModelError, describe_model
from diffusion.info import MAX_CONFIG_BYTES, read_config, shipped_models

GOOD: dict[str, object] = {
    "format": 1,
    "name": "pebble",
    "family": "emoji",
    "sha256": "ab" * 32,
    "native_width": 64,
    "native_height": 96,
    "size_multiple": 16,
    "display_scale": 4,
    "defaults": {
        "steps": 12,
        "guidance_scale": 3,
        "sampler": "euler_a",
        "schedule": "karras",
    },
    "unet": {"anything": [1, 2]},
}


def folder_with(tmp_path: Path, **changes: object) -> Path:
    folder = tmp_path / "stone"
    folder.mkdir(exist_ok=True)
    config = {key: value for key, value in {**GOOD, **changes}.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_everything_is_read(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    info = describe_model(folder)
    assert info == describe_model(str(folder))
    assert (info.name, info.family, info.path) == ("pebble", "emoji", str(folder))
    assert (info.native_width, info.native_height, info.native_area) == (64, 96, 6144)
    assert (info.size_multiple, info.display_scale, info.sha256) == (16, 4, "ab" * 32)
    assert info.defaults == ModelDefaults(
        steps=12, guidance_scale=3.0, sampler="euler_a", schedule="karras"
    )


def test_what_may_be_left_out(tmp_path: Path) -> None:
    folder = folder_with(
        tmp_path, name=..., sha256=..., size_multiple=..., display_scale=..., defaults=...
    )
    info = describe_model(folder)
    assert (info.name, info.sha256, info.size_multiple, info.display_scale) == ("stone", None, 8, 1)
    assert info.defaults == ModelDefaults(
        steps=20, guidance_scale=7.5, sampler="dpmpp_2m", schedule="uniform"
    )


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("family", ..., "family is missing"),
        ("family", "", "family"),
        ("family", 3, "family"),
        ("name", "../x", "name"),
        ("name", None, "name"),
        ("native_width", ..., "native_width is missing"),
        ("native_width", True, "native_width is True"),
        ("native_width", 64.0, "native_width is 64.0"),
        ("native_width", 72, "divisible by size_multiple, which is 16"),
        ("native_height", 10_000, "8 to 8192"),
        ("credits", "me", "a list of at most 64 texts"),
        ("credits", ["x"] * 65, "a list of at most 64 texts"),
        ("credits", ["x" * 301], "at most 300 characters"),
        ("credits", [3], "a list of at most 64 texts"),
        ("size_multiple", 0, "1 to 512"),
        ("display_scale", 17, "1 to 16"),
        ("display_scale", "4", "display_scale is '4'"),
        ("sha256", "AB" * 32, "64 lower-case hex"),
        ("sha256", 5, "64 lower-case hex"),
        ("defaults", [], "defaults"),
        ("defaults", {"seed": 4}, "defaults"),
        ("defaults", {"steps": 0}, "defaults.steps is 0"),
        ("defaults", {"sampler": "eulr"}, "did you mean 'euler'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, key: str, value: object, message: str) -> None:
    folder = folder_with(tmp_path, **{key: value})
    with pytest.raises(CheckpointError, match=message) as caught:
        describe_model(folder)
    assert str(folder / "config.json") in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[1]", "one object, not list"),
        (" " * (MAX_CONFIG_BYTES + 1), "the limit is"),
        ("\udcff", "not valid JSON"),
    ],
)
def test_damaged_descriptions(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(CheckpointError, match=message):
        read_config(tmp_path)


def test_a_folder_without_a_description(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json: missing"):
        describe_model(tmp_path)
    (tmp_path / "config.json").mkdir()
    with pytest.raises(CheckpointError, match="cannot be read"):
        describe_model(tmp_path)


def test_a_file_that_is_no_checkpoint_is_refused_as_one(tmp_path: Path) -> None:
    (tmp_path / "notes.safetensors").write_text("not tensors")
    with pytest.raises(CheckpointError, match="no safetensors file"):
        describe_model(tmp_path / "notes.safetensors")


@pytest.mark.parametrize(
    "name",
    ["", "granite", "../..//granite", "a\0b", "~nobody-of-that-name/x", "x" * 5000],
)
def test_unknown_models(name: str) -> None:
    with pytest.raises(UnknownModelError, match="neither a shipped model nor") as caught:
        describe_model(name)
    assert len(str(caught.value)) < 400
    assert isinstance(caught.value, LookupError)


def test_shipped_models_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffusion.info._models_root", lambda: tmp_path)
    folder = folder_with(tmp_path)
    assert shipped_models() == ("stone",)
    assert describe_model("stone").path == str(folder)
    with pytest.raises(UnknownModelError, match="did you mean 'stone'"):
        describe_model("stome")
    monkeypatch.setattr("diffusion.info._models_root", lambda: tmp_path / "nowhere")
    assert shipped_models() == ()


def test_describing_a_model_loads_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys, diffusion; diffusion.describe_model(sys.argv[1]);"
        "import diffusion.pictures, diffusion.schedules, diffusion.samplers, diffusion.provenance;"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run(  # noqa: S603
        [sys.executable, "-c", program, str(folder_with(tmp_path))],
        check=True,
        cwd=Path(__file__).parent.parent,
        timeout=30,
    )
