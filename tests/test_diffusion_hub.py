"""Pulling checkpoints from a hub that is whole, interrupted, full, lying or hostile."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffusion.errors import CheckpointError
from diffusion.hub import pull
from tests.hub import Hub, serving

BIG = bytes(range(256)) * 5000
SINGLE = {"model.safetensors": BIG, "README.md": b"hello", "model.ckpt": b"pickle"}
WHOLE = {
    "model_index.json": json.dumps(
        {
            "_class_name": "StableDiffusionPipeline",
            "unet": ["diffusers", "UNet2DConditionModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "safety_checker": [None, None],
        }
    ).encode(),
    "unet/config.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors": BIG,
    "unet/diffusion_pytorch_model.fp16.safetensors": BIG[:999],
    "unet/diffusion_pytorch_model.bin": b"pickle",
    "tokenizer/vocab.json": b'{"a": 1}',
    "tokenizer/merges.txt": b"a b",
    "safety_checker/model.safetensors": b"not asked for",
    "vae_decoder/model.onnx": b"not asked for",
    "v1.ckpt": b"pickle",
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub(files=dict(SINGLE))) as running:
        yield running


def on_disk(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_single_file(hub: Hub, tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    path = pull(hub.repo, tmp_path, endpoint=hub.endpoint, progress=lambda *now: told.append(now))
    assert path == tmp_path / "model.safetensors"
    assert on_disk(tmp_path) == {"model.safetensors": BIG}
    assert not path.is_symlink()
    assert told[-1] == (len(BIG), len(BIG), "model.safetensors")
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    # Nothing about this machine is told, and nothing else is asked.
    assert hub.agents == {"easel"}
    assert len(hub.requests) == 2


def test_what_is_there_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    pull(hub.repo, tmp_path, endpoint=hub.endpoint)
    pull(hub.repo, tmp_path, endpoint=hub.endpoint, progress=lambda *now: told.append(now))
    assert len(hub.fetched("model.safetensors")) == 1
    assert told == [(len(BIG), len(BIG), "model.safetensors")]
    (tmp_path / "model.safetensors").write_bytes(BIG[:-1] + b"?")
    pull(hub.repo, tmp_path, endpoint=hub.endpoint)
    assert on_disk(tmp_path) == {"model.safetensors": BIG}


@pytest.mark.parametrize("variant", [None, "fp16", "bf16"])
def test_a_whole_model(tmp_path: Path, variant: str | None) -> None:
    with serving(Hub(files=dict(WHOLE))) as hub:
        assert pull(hub.repo, tmp_path, endpoint=hub.endpoint, variant=variant) == tmp_path
    infix = ".fp16" if variant == "fp16" else ""
    weights = f"unet/diffusion_pytorch_model{infix}.safetensors"
    wanted = {
        "model_index.json",
        "unet/config.json",
        weights,
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
    }
    assert on_disk(tmp_path) == {name: WHOLE[name] for name in wanted}


def test_files_by_name(tmp_path: Path) -> None:
    name = "unet/diffusion_pytorch_model.fp16.safetensors"
    with serving(Hub(files=dict(WHOLE))) as hub:
        path = pull(hub.repo, tmp_path, endpoint=hub.endpoint, files=[name])
    assert path == tmp_path / name
    assert on_disk(tmp_path) == {name: WHOLE[name]}


def test_a_cut_body_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    hub.cuts["model.safetensors"] = [300_000, 300_000]
    pull(hub.repo, tmp_path, endpoint=hub.endpoint)
    assert on_disk(tmp_path) == {"model.safetensors": BIG}
    spans = hub.fetched("model.safetensors")
    assert len(spans) == 3
    assert spans[0] == ""
    assert all(span.startswith("bytes=") for span in spans[1:])


def test_a_later_run_goes_on_where_the_first_gave_up(hub: Hub, tmp_path: Path) -> None:
    hub.cuts["model.safetensors"] = [1_100_000, 0, 0, 0, 0]
    with pytest.raises(CheckpointError, match="run it again to go on"):
        pull(hub.repo, tmp_path, endpoint=hub.endpoint)
    assert not (tmp_path / "model.safetensors").exists()
    kept = sum(len(data) for data in on_disk(tmp_path).values())
    assert kept > 1_000_000
    hub.cuts.clear()
    hub.requests.clear()
    pull(hub.repo, tmp_path, endpoint=hub.endpoint)
    assert hub.fetched("model.safetensors") == [f"bytes={kept}-"]
    assert on_disk(tmp_path) == {"model.safetensors": BIG}


def test_a_hub_without_ranges_starts_anew(hub: Hub, tmp_path: Path) -> None:
    hub.ranges = False
    hub.cuts["model.safetensors"] = [1_100_000]
    pull(hub.repo, tmp_path, endpoint=hub.endpoint)
    assert on_disk(tmp_path) == {"model.safetensors": BIG}


@pytest.mark.parametrize("name", ["model.safetensors", "notes.txt"])
def test_wrong_bytes_are_deleted_and_named(hub: Hub, tmp_path: Path, name: str) -> None:
    hub.files["notes.txt"] = b"right"
    hub.instead[name] = b"?" + hub.files[name][1:]
    with pytest.raises(CheckpointError, match=rf"{name} of someone/model arrived damaged"):
        pull(hub.repo, tmp_path, endpoint=hub.endpoint, files=[name])
    assert on_disk(tmp_path) == {}


def test_more_bytes_than_told_are_refused(hub: Hub, tmp_path: Path) -> None:
    hub.instead["model.safetensors"] = BIG + b"!" * 3_000_000
    with pytest.raises(CheckpointError, match=r"sends more of model\.safetensors"):
        pull(hub.repo, tmp_path, endpoint=hub.endpoint)
    assert sum(len(data) for data in on_disk(tmp_path).values()) == 0


def test_a_full_disk_is_known_before_the_first_byte(hub: Hub, tmp_path: Path) -> None:
    hub.sizes["model.safetensors"] = 2**60
    with pytest.raises(CheckpointError, match=r"needs 1073741824.00 GiB more .* make room"):
        pull(hub.repo, tmp_path, endpoint=hub.endpoint)
    assert hub.fetched("model.safetensors") == []


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (404, "has no repository 'someone/model'; check the spelling"),
        (401, "accept its licence at .*/someone/model and set HF_TOKEN"),
        (403, "accept its licence"),
        (500, "could not be fetched"),
    ],
)
def test_refusals_of_the_hub(hub: Hub, tmp_path: Path, status: int, sentence: str) -> None:
    hub.status = status
    with pytest.raises(CheckpointError, match=sentence):
        pull(hub.repo, tmp_path, endpoint=hub.endpoint)
    assert on_disk(tmp_path) == {}


def test_an_unknown_revision(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no revision 'v9'"):
        pull(hub.repo, tmp_path, endpoint=hub.endpoint, revision="v9")


def test_nobody_answers(tmp_path: Path) -> None:
    with serving(Hub(files={})) as hub:
        pass
    with pytest.raises(CheckpointError, match="check the network"):
        pull(hub.repo, tmp_path, endpoint=hub.endpoint)


@pytest.mark.parametrize("repo", ["../../etc", "a/b/c", "", "a/..", "a b/c", "a/b?c"])
def test_names_that_are_no_repository(tmp_path: Path, repo: str) -> None:
    with pytest.raises(CheckpointError, match="owner/name"):
        pull(repo, tmp_path, endpoint="http://127.0.0.1:1")


@pytest.mark.parametrize(
    "name", ["../outside.json", "unet/../../x.json", "/etc/x.json", "a\\..\\x.json", "C:/x.json"]
)
def test_hostile_names_are_refused(hub: Hub, tmp_path: Path, name: str) -> None:
    hub.files[name] = b"{}"
    with pytest.raises(CheckpointError, match="do not trust it"):
        pull(hub.repo, tmp_path / "models", endpoint=hub.endpoint)
    assert on_disk(tmp_path) == {}


def test_a_link_that_leads_out_is_not_followed(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "models"
    outside.mkdir()
    folder.mkdir()
    (folder / "unet").symlink_to(outside)
    with serving(Hub(files=dict(WHOLE))) as hub, pytest.raises(CheckpointError, match="by a link"):
        pull(hub.repo, folder, endpoint=hub.endpoint)
    assert on_disk(outside) == {}


def test_importing_it_loads_neither_torch_nor_the_hub_client() -> None:
    code = "import sys, diffusion.hub; print({'torch', 'huggingface_hub'} & set(sys.modules))"
    out = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "set()"
