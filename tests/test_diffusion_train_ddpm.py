"""The simplest complete diffusion system, end to end: Algorithm 1 learns a dozen shapes, Algorithm
2 paints them, and the folder between the two is anybody's.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from diffusion.loading import load_model
from diffusion.networks.configs import DDPMConfig
from diffusion.networks.ddpm import DDPMUNet
from diffusion.train.data import DataError
from diffusion.train.ddpm import training
from diffusion.train.ddpm.folder import write_folder
from diffusion.train.ddpm.pictures import (
    PictureSet,
    read_drawings,
    read_pictures,
    to_bytes,
    to_signal,
)
from diffusion.train.ddpm.sheet import nearest, on_the_way, sample, sample_sheet
from diffusion.train.ddpm.training import (
    DDPMError,
    DDPMRecipe,
    Trainer,
    alphas_cumprod,
    build_network,
    denoising_loss,
    train_ddpm,
)
from diffusion.train.folder import TrainingDataError
from diffusion.train.state import Progress
from tests.workbench import write_shapes

SMALL = DDPMRecipe(
    network=DDPMConfig(
        model_channels=8,
        channel_mult=(1, 2),
        num_res_blocks=1,
        attention=(False, False),
        norm_groups=4,
    ),
    batch=8,
    learning_rate=4e-3,
    warmup=4,
    average_decay=0.98,
)


def shapes() -> PictureSet:
    """Twelve pictures of 32 x 32: three shapes in four colours, on white."""
    y, x = np.mgrid[:32, :32] - 15.5
    masks = [np.maximum(abs(x), abs(y)) < 10, np.hypot(x, y) < 12, abs(y) < 5]
    colours = [(220, 30, 30), (30, 160, 60), (40, 80, 220), (240, 190, 20)]
    pixels = np.full((12, 32, 32, 3), 255, dtype=np.uint8)
    for number in range(12):
        pixels[number][masks[number % 3]] = colours[number // 3]
    return PictureSet(
        pixels=torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(),
        mirrored=torch.ones(12, dtype=torch.bool),
    )


def quiet(progress: Progress) -> None:
    del progress


def trained(folder: Path, samples: int, recipe: DDPMRecipe = SMALL) -> tuple[Trainer, DDPMUNet]:
    trainer = Trainer(shapes(), folder, recipe)
    return trainer, train_ddpm(trainer, minutes=5, samples=samples, report=quiet)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trainer, DDPMUNet]:
    folder = tmp_path_factory.mktemp("ddpm")
    trainer, network = trained(folder, 8 * 100)
    write_folder(folder / "model", network)
    return folder, trainer, network


def test_the_schedule_is_the_paper_s() -> None:
    abar = alphas_cumprod()
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    assert len(abar) == 1000
    assert torch.allclose(abar.double(), torch.cumprod(1 - betas, 0), rtol=1e-6)
    # Section 4: nearly no signal is left at the end, 1/2 log2(1 / (1 - abar)) about 1e-5 bits.
    assert float(abar[-1]) < 5e-5


class Oracle(torch.nn.Module):
    """Knows the only picture there is, and so the noise in what it is shown."""

    def __init__(self, x0: Tensor) -> None:
        super().__init__()
        self.x0, self.asked = x0, list[int]()

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        self.asked += t.tolist()
        abar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)[t]
        abar = abar[:, None, None, None]
        return ((x_t - abar.sqrt() * self.x0) / (1 - abar).sqrt()).float()


def test_who_knows_the_noise_has_no_loss_and_all_moments_are_asked() -> None:
    one = PictureSet(pixels=shapes().pixels[:1], mirrored=torch.zeros(1, dtype=torch.bool))
    oracle = Oracle(to_signal(one.pixels))
    generator = torch.Generator().manual_seed(0)
    loss = denoising_loss(oracle, one, 400, alphas_cumprod(), generator)  # type: ignore[arg-type]
    assert float(loss) < 1e-6
    assert min(oracle.asked) < 20
    assert max(oracle.asked) > 979
    assert abs(np.mean(oracle.asked) - 499.5) < 60
    # Another picture than it believes is told by its error.
    oracle.x0 = oracle.x0.flip(-2) * 0.5
    wrong = denoising_loss(oracle, one, 400, alphas_cumprod(), generator)  # type: ignore[arg-type]
    assert float(wrong) > 0.05


def test_a_fresh_network_answers_nothing_so_the_loss_begins_at_one() -> None:
    network = build_network(SMALL)
    assert not network(torch.randn(2, 3, 32, 32), torch.tensor([0, 999])).any()
    generator = torch.Generator().manual_seed(0)
    loss = denoising_loss(network, shapes(), 32, alphas_cumprod(), generator)
    assert abs(float(loss.detach()) - 1) < 0.02


def test_pictures_are_drawn_evenly_scaled_and_half_in_a_mirror() -> None:
    pixels = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    pixels[:, :, :, 0] = torch.tensor([60, 120, 180, 240], dtype=torch.uint8)[:, None, None]
    some = PictureSet(pixels=pixels, mirrored=torch.tensor([True, True, True, False]))
    drawn = some.draw(4000, torch.Generator().manual_seed(0))
    assert drawn.dtype == torch.float32
    assert float(drawn.min()) == -1
    assert float(drawn.max()) == pytest.approx(240 / 127.5 - 1)
    for value, mirrors in ((60, True), (120, True), (180, True), (240, False)):
        here = to_bytes(drawn)[:, 0, 0, :]
        plain, turned = ((here[:, column] == value).float().mean() for column in (0, -1))
        assert abs(float(plain + turned) - 0.25) < 0.03
        assert abs(float(turned) - (0.125 if mirrors else 0.0)) < 0.03
    assert torch.equal(to_bytes(to_signal(pixels)), pixels)


def test_training_from_scratch_lowers_the_loss(
    run: tuple[Path, Trainer, DDPMUNet],
) -> None:
    _, trainer, _ = run
    losses = [entry["loss"] for entry in trainer.progress.log]
    assert [entry["samples"] for entry in trainer.progress.log] == [400, 800]
    assert losses[1] < 0.7 * losses[0] < 0.7


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole, network = trained(tmp_path / "whole", 8 * 10)
    broken = Trainer(shapes(), tmp_path / "broken", SMALL)
    train_ddpm(broken, minutes=5, report=quiet, stop=lambda: broken.progress.steps >= 4)
    assert broken.progress.steps == 4
    taken_up, again = trained(tmp_path / "broken", 8 * 10)
    assert taken_up.progress.steps == whole.progress.steps == 10
    first, second = (load_file(tmp_path / name / training.STATE) for name in ("whole", "broken"))
    assert first.keys() == second.keys()
    assert any(name.startswith("adam.exp_avg_sq.") for name in first)
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    other, _ = trained(tmp_path / "other", 8 * 10, replace(SMALL, seed=1))
    assert not torch.equal(other.network.conv_in.weight, whole.network.conv_in.weight)


def test_the_clock_stops_a_run_with_its_state_kept(tmp_path: Path) -> None:
    trainer = Trainer(shapes(), tmp_path, SMALL)
    train_ddpm(trainer, minutes=0, report=quiet)
    assert trainer.progress.steps == 0
    assert (tmp_path / training.STATE).exists()
    told: list[int] = []
    train_ddpm(trainer, minutes=5, samples=16, report=lambda now: told.append(now.samples))
    assert told == [8, 16]
    assert trainer.progress.seconds > 0


def test_every_step_and_every_seed_draws_anew(tmp_path: Path) -> None:
    still = replace(SMALL, learning_rate=0.0)
    trainer = Trainer(shapes(), tmp_path / "a", still)
    other = Trainer(shapes(), tmp_path / "b", replace(still, seed=1))
    losses = [run.step() for run in (trainer, other) for _ in range(3)]
    assert len(set(losses)) == 6


def test_the_learning_rate_warms_up(tmp_path: Path) -> None:
    trainer = Trainer(shapes(), tmp_path, SMALL)
    rates = []
    for _ in range(6):
        trainer.step()
        rates.append(trainer.optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-3, 2e-3, 3e-3, 4e-3, 4e-3, 4e-3])


def test_the_folder_holds_the_averaged_network(run: tuple[Path, Trainer, DDPMUNet]) -> None:
    folder, trainer, network = run
    model = load_model(folder / "model", device="cpu", dtype="float32")
    assert model.info.family == "ddpm"
    assert (model.info.native_width, model.info.native_height) == (32, 32)
    assert model.noise_schedule.alphas_cumprod[-1] == pytest.approx(float(alphas_cumprod()[-1]))
    x, t = torch.randn(2, 3, 32, 32), torch.tensor([3, 700])
    answer = network(x, t)
    assert torch.equal(model.backbone(x, t), answer)
    with torch.no_grad():
        latest = trainer.network(x, t)
    assert not torch.allclose(latest, answer, atol=1e-3), "the averages are not the last weights"


def test_diffusers_reads_the_folder(run: tuple[Path, Trainer, DDPMUNet]) -> None:
    from diffusers import DDPMScheduler, UNet2DModel

    folder, _, network = run
    peer = UNet2DModel.from_pretrained(folder / "model" / "unet").eval()
    x, t = torch.randn(2, 3, 32, 32), torch.tensor([3, 700])
    with torch.no_grad():
        assert torch.allclose(peer(x, t).sample, network(x, t), atol=1e-5)
    scheduler = DDPMScheduler.from_pretrained(folder / "model" / "scheduler")
    assert scheduler.config["variance_type"] == "fixed_small"
    assert torch.allclose(scheduler.alphas_cumprod, alphas_cumprod(), rtol=1e-4)
    index = json.loads((folder / "model" / "model_index.json").read_text())
    assert index["_class_name"] == "DDPMPipeline"


def test_algorithm_2_paints_the_same_again(
    run: tuple[Path, Trainer, DDPMUNet], tmp_path: Path
) -> None:
    folder, _, _ = run
    write_folder(tmp_path / "fresh", build_network(SMALL))
    model, fresh = load_model(folder / "model"), load_model(tmp_path / "fresh")
    painted = sample(model, images=3, steps=40, seed=5)
    assert [picture.size for picture in painted] == [(32, 32)] * 3
    again = sample(model, images=2, steps=40, seed=6)
    assert [p.tobytes() for p in painted[1:]] == [p.tobytes() for p in again]
    assert len({picture.tobytes() for picture in painted}) == 3
    # A hundred steps teach it a little: colours and white, hardly shapes.
    assert distance(painted) < 0.92 * distance(sample(fresh, images=3, steps=40, seed=5))


def distance(pictures: list[Image.Image]) -> float:
    """How far pictures are from the nearest shapes on average, in levels of a byte."""
    return float(np.mean([difference(p, nearest(p, shapes())) for p in pictures]))


def difference(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one).astype(float) - np.asarray(other)).mean())


@pytest.mark.slow
def test_both_variances_of_the_paper(run: tuple[Path, Trainer, DDPMUNet], tmp_path: Path) -> None:
    _, _, network = run
    painted = []
    for variance in ("fixed_small", "fixed_large"):
        write_folder(tmp_path / variance, network, variance=variance)
        model = load_model(tmp_path / variance)
        assert model.noise_schedule.variance_type == variance
        painted.append(sample(model, images=1, steps=10)[0])
    assert difference(*painted) > 1


def test_a_sheet_shows_samples_their_models_and_the_way(
    run: tuple[Path, Trainer, DDPMUNet], tmp_path: Path
) -> None:
    folder, _, _ = run
    sample_sheet(folder / "model", shapes(), tmp_path / "sheet.png", steps=4)
    with Image.open(tmp_path / "sheet.png") as shown:
        assert shown.width > 8 * 128
        assert shown.height > 5 * 128
    frames = on_the_way(load_model(folder / "model"), frames=3, steps=9)
    assert len(frames) == 3
    assert len({frame.tobytes() for frame in frames}) == 3
    last = sample(load_model(folder / "model"), images=1, steps=9)[0]
    assert difference(frames[-1].resize(last.size), last) < 3


def test_the_nearest_may_be_in_a_mirror() -> None:
    left = torch.full((2, 3, 8, 8), 255, dtype=torch.uint8)
    left[0, :, :, :3] = 0
    some = PictureSet(pixels=left, mirrored=torch.tensor([True, False]))
    turned = Image.fromarray(left[0].flip(-1).permute(1, 2, 0).contiguous().numpy())
    assert difference(nearest(turned, some), turned) == 0
    fixed = PictureSet(pixels=left, mirrored=torch.tensor([False, False]))
    assert difference(nearest(turned, fixed), turned) > 0


@pytest.mark.parametrize("recipe", [
    replace(SMALL, batch=4), replace(SMALL, seed=1),
    replace(SMALL, network=replace(SMALL.network, norm_groups=2)),
])  # fmt: skip
def test_another_recipe_does_not_go_on_with_a_run(tmp_path: Path, recipe: DDPMRecipe) -> None:
    trained(tmp_path, 8)
    before = (tmp_path / training.RECIPE).read_bytes()
    with pytest.raises(DDPMError, match="begun with other recipe: go on"):
        Trainer(shapes(), tmp_path, recipe)
    assert (tmp_path / training.RECIPE).read_bytes() == before


def test_other_pictures_and_a_damaged_note_are_refused(tmp_path: Path) -> None:
    trained(tmp_path, 8)
    fewer = PictureSet(pixels=shapes().pixels[:5], mirrored=shapes().mirrored[:5])
    with pytest.raises(DDPMError, match="begun with other pictures"):
        Trainer(fewer, tmp_path, SMALL)
    still = PictureSet(pixels=shapes().pixels, mirrored=torch.zeros(12, dtype=torch.bool))
    with pytest.raises(DDPMError, match="begun with other pictures"):
        Trainer(still, tmp_path, SMALL)
    (tmp_path / training.RECIPE).write_text("{")
    with pytest.raises(DDPMError, match="begin in another folder"):
        Trainer(shapes(), tmp_path, SMALL)


def test_pictures_of_another_size_and_no_pictures_are_refused(tmp_path: Path) -> None:
    larger = replace(SMALL, network=replace(SMALL.network, resolution=64))
    with pytest.raises(DDPMError, match="32 pixels a side, the network is for 64"):
        Trainer(shapes(), tmp_path / "run", larger)
    assert not (tmp_path / "run").exists()
    for shape in ((0, 3, 8, 8), (1, 4, 8, 8), (1, 3, 8, 4), (3, 8, 8)):
        with pytest.raises(ValueError, match="not N x 3 x S x S"):
            PictureSet(pixels=torch.zeros(shape).byte(), mirrored=torch.zeros(shape[0]).bool())
    with pytest.raises(ValueError, match="must be bytes"):
        PictureSet(pixels=torch.zeros(1, 3, 8, 8), mirrored=torch.zeros(1).bool())


def test_a_loss_that_is_no_number_ends_the_run_and_spoils_nothing(tmp_path: Path) -> None:
    trainer = Trainer(shapes(), tmp_path, replace(SMALL, learning_rate=1e30, warmup=1))
    with pytest.raises(DDPMError, match=r"the loss is (nan|inf) at step 1: .* below 1e\+30"):
        train_ddpm(trainer, minutes=5, samples=80, report=quiet)
    assert not (tmp_path / training.STATE).exists()


def test_a_network_that_the_folder_cannot_tell_of_is_refused(tmp_path: Path) -> None:
    wide = DDPMUNet(replace(SMALL.network, channel_mult=(2, 2)))
    with pytest.raises(ValueError, match=r"\(2, 2\) wide; the first must be 1"):
        write_folder(tmp_path / "model", wide)
    assert not (tmp_path / "model").exists()


def test_drawings_are_read_from_the_data_set_on_white(tmp_path: Path) -> None:
    write_shapes(tmp_path / "art", size=64)
    found = read_drawings(tmp_path / "art", 32, names="all")
    assert found.pixels.shape == (9, 3, 32, 32)
    assert found.mirrored.all()
    # "red square" is the first: white around red, shrunk without a dark rim.
    assert found.pixels[0, :, 0, 0].tolist() == [255, 255, 255]
    assert found.pixels[0, :, 16, 16].tolist() == [220, 30, 30]
    assert int(found.pixels[0, 0].min()) >= 220
    with pytest.raises(DataError, match="none of the known names in twemoji"):
        read_drawings(tmp_path / "art", 32)
    with pytest.raises(DataError, match="no style"):
        read_drawings(tmp_path / "art", 32, styles=("oil",))
    with pytest.raises(DataError, match="build the data set first"):
        read_drawings(tmp_path / "nothing", 32)


def test_anybody_s_pictures_are_shrunk_and_cut_around_the_centre(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    wide = Image.new("RGB", (192, 64), "red")
    wide.paste((0, 0, 255), (64, 0, 128, 64))
    wide.save(folder / "a wide one.png")
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(folder / "clear.png")
    found, warnings = read_pictures(folder, 32, mirror=False)
    assert found.pixels.shape == (2, 3, 32, 32)
    assert not found.mirrored.any()
    assert (found.pixels[0, 2] > 200).all()
    assert (found.pixels[0, 0] < 60).all(), "the red sides are cut off"
    assert (found.pixels[1] == 255).all()
    assert any("transparency" in warning for warning in warnings)
    Image.new("RGB", (64, 16)).save(folder / "flat.png")
    with pytest.raises(TrainingDataError, match=r"flat.png has 64 x 16 pixels; 32 a side"):
        read_pictures(folder, 32)


def test_repeats_of_a_folder_count(tmp_path: Path) -> None:
    for name, colour in (("3_cats", "black"), ("dogs", "white")):
        (tmp_path / name).mkdir()
        Image.new("RGB", (64, 64), colour).save(tmp_path / name / "one.png")
    found, _ = read_pictures(tmp_path, 32)
    assert sorted(found.pixels[:, 0, 0, 0].tolist()) == [0, 0, 0, 255]
