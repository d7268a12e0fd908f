"""Which files of a repository make a checkpoint."""

from pathlib import Path

import pytest

from diffusion.errors import CheckpointError
from diffusion.hub_files import HubFile, choose, listing, read_components

SHA1, SHA256 = "a" * 40, "b" * 64


def files(*names: str) -> dict[str, HubFile]:
    return {name: HubFile(name=name, size=1, digest=SHA1, large=False) for name in names}


def chosen(known: dict[str, HubFile], *components: str, variant: str | None = None) -> set[str]:
    picked = choose("a/b", known, files=None, components=components or None, variant=variant)
    assert len({file.name for file in picked}) == len(picked)
    return {file.name for file in picked}


def test_shards_come_with_their_index() -> None:
    shards = {f"unet/model-0000{i}-of-00002.safetensors" for i in (1, 2)}
    half = {f"unet/model.fp16-0000{i}-of-00002.safetensors" for i in (1, 2)}
    known = files(
        "model_index.json",
        "unet/config.json",
        "unet/model.safetensors.index.json",
        "unet/model.safetensors.index.fp16.json",
        "unet/pytorch_model.bin.index.json",
        *shards,
        *half,
    )
    always = {"model_index.json", "unet/config.json"}
    index = {"unet/model.safetensors.index.json"}
    half_index = {"unet/model.safetensors.index.fp16.json"}
    assert chosen(known, "unet") == always | shards | index
    assert chosen(known, "unet", variant="fp16") == always | half | half_index


def test_one_whole_file_is_preferred_to_its_shards() -> None:
    known = files(
        "model_index.json",
        "unet/model.safetensors",
        "unet/model-00001-of-00002.safetensors",
        "unet/model.safetensors.index.json",
    )
    assert chosen(known, "unet") == {"model_index.json", "unet/model.safetensors"}


def test_the_only_variant_is_taken_unasked() -> None:
    known = files("model_index.json", "vae/d.fp16.safetensors")
    assert chosen(known, "vae") == {"model_index.json", "vae/d.fp16.safetensors"}


def test_a_repository_that_is_one_component() -> None:
    known = files("config.json", "d.safetensors", "d.fp16.safetensors", "d.bin", "x/y.safetensors")
    assert chosen(known) == {"config.json", "d.safetensors"}
    assert chosen(known, variant="fp16") == {"config.json", "d.fp16.safetensors"}


@pytest.mark.parametrize(
    ("names", "components", "sentence"),
    [
        (("v1.ckpt",), (), "a/b has only pickled weights"),
        (("model_index.json", "unet/d.bin"), ("unet",), "unet of a/b has only pickled weights"),
        (("config.json", "d.bin"), (), "only pickled weights"),
        (("a.txt",), (), "no .safetensors file; it has a.txt"),
        ((), (), "it has no files"),
        (("v1.safetensors", "v2.safetensors"), (), "name one: v1.safetensors, v2.safetensors"),
        (("model_index.json", "x.safetensors"), ("unet",), "no weights; name its file"),
        (
            ("model_index.json", "unet/a.safetensors", "unet/b.safetensors"),
            ("unet",),
            "several checkpoints",
        ),
    ],
)
def test_what_is_no_checkpoint(
    names: tuple[str, ...], components: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        chosen(files(*names), *components)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("v1.ckpt", "is a pickle"),
        ("d.BIN", "is a pickle"),
        ("code.py", "only .safetensors, .json and .txt"),
        ("other.safetensors", "no file 'other.safetensors'; it has v1.ckpt, v1.safetensors"),
    ],
)
def test_names_that_are_refused(name: str, sentence: str) -> None:
    known = files("v1.ckpt", "v1.safetensors")
    with pytest.raises(CheckpointError, match=sentence):
        choose("a/b", known, files=[name], components=None, variant=None)


def entry(**change: object) -> dict[str, object]:
    return {"rfilename": "x.json", "size": 3, "blobId": SHA1} | change


def test_a_listing_is_read() -> None:
    large = entry(rfilename="m.safetensors", lfs={"sha256": SHA256})
    commit, known = listing("a/b", {"sha": SHA1, "siblings": [entry(), large]})
    assert commit == SHA1
    assert known["x.json"] == HubFile(name="x.json", size=3, digest=SHA1, large=False)
    assert known["m.safetensors"].digest == SHA256
    assert known["m.safetensors"].large


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {},
        {"sha": "main", "siblings": []},
        {"sha": SHA1, "siblings": 3},
        {"sha": SHA1, "siblings": [entry(size=-1)]},
        {"sha": SHA1, "siblings": [entry(size=None)]},
        {"sha": SHA1, "siblings": [entry(blobId=None)]},
        {"sha": SHA1, "siblings": [entry(lfs={"sha256": SHA1})]},
        {"sha": SHA1, "siblings": [{"rfilename": "x"}]},
    ],
)
def test_answers_that_are_no_listing(answer: object) -> None:
    with pytest.raises(CheckpointError, match="is not understood"):
        listing("a/b", answer)


@pytest.mark.parametrize("text", ["[]", "{", "3"])
def test_a_model_index_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model_index.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match="no description of a model"):
        read_components(path)
