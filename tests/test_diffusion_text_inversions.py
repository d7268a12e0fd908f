"""Textual inversion files and the names in a prompt."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from diffusion.errors import CheckpointError
from diffusion.text.inversions import Inversions, load_inversion


def write(path: Path, tensors: dict[str, Tensor]) -> Path:
    save_file(tensors, path)
    return path


@pytest.mark.parametrize("key", ["<cat-toy>", "emb_params"])
def test_files_of_one_tensor_speak_to_the_first_encoder(tmp_path: Path, key: str) -> None:
    path = write(tmp_path / "cat.safetensors", {key: torch.arange(16.0).reshape(2, 8)})
    vectors = load_inversion(path, (8,)).vectors
    assert torch.equal(vectors[0], torch.arange(16.0).reshape(2, 8))


def test_one_vector_may_come_flat_and_in_half_precision(tmp_path: Path) -> None:
    path = write(tmp_path / "cat.safetensors", {"x": torch.ones(8, dtype=torch.float16)})
    vectors = load_inversion(path, (8,)).vectors[0]
    assert vectors.shape == (1, 8)
    assert vectors.dtype == torch.float32


def test_files_for_two_encoders_speak_to_both(tmp_path: Path) -> None:
    tensors = {"clip_g": torch.ones(2, 12), "clip_l": torch.zeros(2, 8)}
    vectors = load_inversion(write(tmp_path / "x.safetensors", tensors), (8, 12)).vectors
    assert [tuple(vectors[i].shape) for i in (0, 1)] == [(2, 8), (2, 12)]


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"x": torch.ones(2, 12)}, "12 wide.*takes 8"),
        ({"x": torch.ones(76, 8)}, "1 to 75"),
        ({"x": torch.ones(1, 2, 8)}, "1 to 75"),
        ({"x": torch.full((1, 8), float("nan"))}, "not finite"),
        ({"x": torch.ones(1, 8), "y": torch.ones(1, 8)}, "several"),
        ({"clip_l": torch.ones(1, 8), "clip_g": torch.ones(1, 12)}, "XL"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, tensors: dict[str, Tensor], message: str
) -> None:
    path = write(tmp_path / "x.safetensors", tensors)
    with pytest.raises(CheckpointError, match=message):
        load_inversion(path, (8,))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", {"x": torch.ones(4, 8)})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CheckpointError):
        load_inversion(path, (8,))


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a cat", ["a ", None]),
        ("a CAT, red", ["a ", None, ", red"]),
        ("<cat><my-style>", [None, None]),
        ("embedding:cat on a mat", [None, " on a mat"]),
        ("a bobcat, cats, cat-like, -cat", ["a bobcat, cats, cat-like, -cat"]),
        ("in my-style", ["in ", None]),
        ("nothing", ["nothing"]),
    ],
)
def test_names_are_whole_words_in_any_case(
    tmp_path: Path, text: str, pieces: list[str | None]
) -> None:
    files = {
        name: write(tmp_path / f"{name}.safetensors", {"x": torch.ones(1, 8)})
        for name in ("cat", "my-style")
    }
    found = Inversions(files, (8,)).split(text, 0)
    assert [plain if vectors is None else None for plain, vectors in found] == pieces
