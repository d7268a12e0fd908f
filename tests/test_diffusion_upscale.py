"""Upscalers: tiles, refusals, and the seam where spandrel comes in."""

import os
import subprocess
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from diffusion.errors import CheckpointError, ParamsError
from diffusion.upscale import Upscaler, load_upscaler, resample
from tests.parity.twins import fill

UPSCALE = Path(sys.prefix) / "upscale"


class Network(nn.Module):
    """What spandrel would make of a file: two convolutions, then twice as large."""

    scale = 2
    input_channels = 3
    output_channels = 3

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 8, 3, padding=1)
        self.two = nn.Conv2d(8, 12, 3, padding=1)
        fill(self, seed=1)

    def forward(self, image: Tensor) -> Tensor:
        return functional.pixel_shuffle(self.two(self.one(image).tanh()), 2).sigmoid()


def picture(width: int = 37, height: int = 29) -> Image.Image:
    rng = np.random.default_rng(1)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def difference(a: Image.Image, b: Image.Image) -> int:
    return int(np.abs(np.asarray(a).astype(int) - np.asarray(b).astype(int)).max())


@pytest.fixture
def spandrel(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """Stand in for spandrel at its seam: the calls and names that Easel uses, nothing else."""
    module = types.ModuleType("spandrel")

    class ModelLoader:
        def __init__(self, device: str) -> None:
            self.device = device

        def load_from_state_dict(self, tensors: Mapping[str, Tensor]) -> Network:
            network = Network().to(self.device)
            network.load_state_dict(dict(tensors))
            return network

    vars(module).update(ModelLoader=ModelLoader, ImageModelDescriptor=Network)
    monkeypatch.setitem(sys.modules, "spandrel", module)
    yield module


def saved(folder: Path) -> Path:
    path = folder / "up.safetensors"
    save_file(Network().state_dict(), path)
    return path


@pytest.mark.parametrize("tile", [8, 13, 36])
def test_tiles_with_enough_halo_are_the_whole(tile: int) -> None:
    whole = Upscaler(network=Network(), scale=2, tile=64).upscale(picture())
    assert whole.size == (74, 58)
    tiled = Upscaler(network=Network(), scale=2, tile=tile, halo=2).upscale(picture())
    assert difference(tiled, whole) <= 1
    # And without a halo they are not: the comparison above can fail.
    assert difference(Upscaler(network=Network(), scale=2, tile=tile, halo=0).upscale(picture()),
                      whole) > 1  # fmt: skip


def test_no_call_sees_more_than_a_tile_with_its_halo() -> None:
    seen: list[tuple[int, ...]] = []

    class Watching(Network):
        def forward(self, image: Tensor) -> Tensor:
            seen.append(tuple(image.shape[2:]))
            return super().forward(image)

    Upscaler(network=Watching(), scale=2, tile=8, halo=3).upscale(picture())
    assert max(max(shape) for shape in seen) <= 8 + 2 * 3


def test_a_file_is_loaded_through_spandrel(spandrel: types.ModuleType, tmp_path: Path) -> None:
    upscaler = load_upscaler(saved(tmp_path), tile=16)
    assert upscaler.scale == 2
    whole = Upscaler(network=Network(), scale=2).upscale(picture())
    assert difference(upscaler.upscale(picture().convert("RGBA")), whole) <= 1


def test_a_network_that_is_not_what_it_says(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not what it says"):
        Upscaler(network=Network(), scale=4).upscale(picture())


def test_what_is_refused(
    spandrel: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CheckpointError, match="pickled upscalers"):
        load_upscaler(tmp_path / "esrgan.pth")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_upscaler(tmp_path / "missing.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0 not json")
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        load_upscaler(tmp_path / "broken.safetensors")
    other = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, other)
    with pytest.raises(CheckpointError, match="no upscaler that spandrel knows"):
        load_upscaler(other)
    with pytest.raises(ParamsError, match="negative halo"):
        load_upscaler(other, tile=0)
    monkeypatch.setattr(Network, "input_channels", 1)
    with pytest.raises(CheckpointError, match="maps 1 channels to 3"):
        load_upscaler(saved(tmp_path))


def test_the_extra_is_named_when_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(CheckpointError, match=r"pip install \"easel\[upscale\]\""):
        load_upscaler(saved(tmp_path))


@pytest.mark.parametrize(("scale", "size"), [(2, (74, 58)), (1.5, (56, 44)), (0.01, (1, 1))])
def test_resampling(scale: float, size: tuple[int, int]) -> None:
    assert resample(picture(), scale).size == size
    flat = Image.new("RGB", (10, 10), (9, 8, 7))
    assert resample(flat, scale).getpixel((0, 0)) == (9, 8, 7)


@pytest.mark.parametrize("scale", [0, -1, 9, float("nan")])
def test_scales_that_are_none(scale: float) -> None:
    with pytest.raises(ParamsError, match="from above 0 to 8"):
        resample(picture(), scale)


def esrgan(blocks: int) -> dict[str, Tensor]:
    """Random weights under the names of an ESRGAN file (Wang et al. 2018), 4x, 16 wide."""
    generator = torch.Generator().manual_seed(5)
    width, growth = 16, 32
    shapes = {"conv_first": (3, width)}
    for block in range(blocks):
        for dense in range(1, 4):
            for layer in range(1, 6):
                wide = width + (layer - 1) * growth
                name = f"body.{block}.rdb{dense}.conv{layer}"
                shapes[name] = (wide, growth if layer < 5 else width)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        shapes[name] = (width, width)
    shapes["conv_last"] = (width, 3)
    tensors = {}
    for name, (a, b) in shapes.items():
        weight = torch.randn(b, a, 3, 3, generator=generator) / (9 * a) ** 0.5
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = weight, torch.full((b,), 0.1)
    return tensors


@pytest.mark.slow
@pytest.mark.skipif(not UPSCALE.is_dir(), reason="make test installs the extra easel[upscale]")
def test_a_real_esrgan_in_tiles(tmp_path: Path) -> None:
    path = tmp_path / "esrgan.safetensors"
    save_file(esrgan(1), path)
    picture(60, 50).save(tmp_path / "small.png")
    whole = really_upscaled(path, tmp_path / "small.png", tile=128, halo=0)
    assert whole.size == (240, 200)
    assert np.asarray(whole).std() > 5  # a picture, not a flat field
    tiles = really_upscaled(path, tmp_path / "small.png", tile=24, halo=24)
    assert difference(tiles, whole) <= 1
    # What the halo is for: without it, seams show.
    assert difference(really_upscaled(path, tmp_path / "small.png", tile=24, halo=0), whole) > 1


@pytest.mark.skipif(not UPSCALE.is_dir(), reason="make test installs the extra easel[upscale]")
def test_a_file_that_spandrel_does_not_know(tmp_path: Path) -> None:
    picture().save(tmp_path / "small.png")
    done = asked(saved(tmp_path), tmp_path / "small.png", tile=24, halo=24)
    assert done.returncode
    assert "is no upscaler that spandrel knows (UnsupportedModelError" in done.stderr


def test_a_torchvision_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> types.ModuleType:
        raise RuntimeError(f"operator {name}::nms does not exist")

    monkeypatch.setattr("diffusion.upscale.import_module", refuse)
    with pytest.raises(CheckpointError, match=r"a torchvision that fits torch .*nms does not"):
        load_upscaler(saved(tmp_path))


def asked(path: Path, small: Path, *, tile: int, halo: int) -> subprocess.CompletedProcess[str]:
    """Enlarge a picture in a process that finds the real spandrel."""
    command = [sys.executable, "-m", "tests.spandrel_alone", str(path), str(small)]
    return subprocess.run(  # noqa: S603 - our own code
        [*command, str(small.with_stem("large")), str(tile), str(halo)],
        env={**os.environ, "PYTHONPATH": str(UPSCALE), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def really_upscaled(path: Path, small: Path, *, tile: int, halo: int) -> Image.Image:
    """Return a picture as the real spandrel enlarges it."""
    done = asked(path, small, tile=tile, halo=halo)
    assert not done.returncode, done.stderr
    return Image.open(small.with_stem("large")).convert("RGB")
