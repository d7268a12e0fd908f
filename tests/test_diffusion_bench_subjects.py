"""The models that are measured, who comes, and the process that answers."""

import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from diffusion import Params, generate
from diffusion.bench import child, peer
from diffusion.bench.errors import BenchError
from diffusion.bench.instant import always_full, instant
from diffusion.bench.loras import with_loras
from diffusion.bench.peer import Peer
from diffusion.bench.population import Population, pictures
from diffusion.bench.sizes import SIZES
from diffusion.bench.solo import difference
from diffusion.bench.subjects import build, job_params, pick_device, side_for
from diffusion.bench.switch import from_host
from diffusion.bench.timing import Peak, clock, in_turn, resident
from diffusion.device import Device
from diffusion.model import Model
from diffusion.networks.unet import UNet

CPU = Device(device="cpu", dtype="float32", description="CPU")


@pytest.fixture(scope="module")
def tiny() -> Model:
    return build("tiny-sd15", CPU)


def test_random_weights_come_from_a_seed(tiny: Model) -> None:
    again, other = build("tiny-sd15", CPU), build("tiny-sd15", CPU, seed=9)
    pairs = zip(tiny.backbone.parameters(), again.backbone.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(next(tiny.backbone.parameters()), next(other.backbone.parameters()))


def test_the_published_sizes() -> None:
    millions = {}
    for name in ("sd15", "sd21", "sdxl"):
        with torch.device("meta"):
            unet = UNet(SIZES[name].unet)
        millions[name] = sum(p.numel() for p in unet.parameters()) // 10**6
    assert millions == {"sd15": 859, "sd21": 865, "sdxl": 2567}


@pytest.mark.parametrize("name", ["tiny-sd15", "tiny-sdxl"])
@pytest.mark.parametrize("sampler", peer.SAMPLERS)
def test_the_peer_paints_the_same(name: str, sampler: str) -> None:
    model = build(name, CPU)
    side = side_for(model, None)
    params = job_params(model, steps=5, images=2, sampler=sampler, width=side, height=side)
    *_, last = generate(model, params)
    seen: list[object] = []
    theirs = Peer(model).paint(params, seen=lambda draw: seen.append(draw()))
    assert difference(list(last.pictures or ()), theirs) < 0.5
    assert len(seen) == 1


def test_a_missing_peer_is_told_in_a_sentence(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(BenchError, match="pip install diffusers"):
        Peer(tiny)


def test_a_sampler_without_a_peer(tiny: Model) -> None:
    with pytest.raises(BenchError, match="'heun' is not compared"):
        Peer(tiny).scheduler(Params(prompt="x", sampler="heun"))


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(BenchError, match="there are auto, cpu, cuda"):
        pick_device("abacus")


def test_the_same_people_come_again(tiny: Model) -> None:
    def arrivals(seed: int) -> list[object]:
        population = Population(tiny, side=16, seed=seed)
        return [*population.burst(5), *population.poisson(4.0, 10.0)]

    assert arrivals(3) == arrivals(3) != arrivals(4)


def test_people_come_at_the_rate_and_in_the_mixture(tiny: Model) -> None:
    found = Population(tiny, side=16, seed=1).poisson(10.0, 100.0)
    assert 850 < len(found) < 1150 and found[0].at == 0
    assert all(a.at <= b.at for a, b in pairwise(found))
    drafts = [arrival for arrival in found if arrival.job_class.kind == "draft"]
    assert 0.35 < len(drafts) / len(found) < 0.45
    assert {(a.params.steps, a.share) for a in drafts} == {(4, "draft")}
    assert {arrival.params.sampler for arrival in found} == set(peer.SAMPLERS)
    assert len({(arrival.params.width, arrival.params.height) for arrival in found}) == 2
    assert 2.2 < pictures(found) / len(found) < 2.8


def test_an_instant_network_leaves_the_model_as_it_is(tiny: Model) -> None:
    empty, x = instant(tiny), torch.randn(2, 4, 4, 4)
    assert torch.equal(empty.backbone.run(x, x, []), x)
    assert isinstance(tiny.backbone, UNet) and "run" not in vars(tiny.backbone)
    assert always_full(tiny).measured.pace.cap("kind", 64) == 64
    assert tiny.measured.pace.cap("kind", 64) == 2


def test_loras_are_read_and_change_the_picture(tiny: Model, tmp_path: Path) -> None:
    styled, names = with_loras(tiny, tmp_path, 2)
    assert names == ["style0", "style1"]
    painted = []
    for prompt in ("cat", "cat <lora:style0:0.8>", "cat <lora:style1:0.8>"):
        *_, last = generate(styled, job_params(styled, prompt=prompt, steps=2, images=1))
        painted.append((last.pictures or ())[0].tobytes())
    assert len(set(painted)) == 3


def test_sides_take_turns() -> None:
    order: list[str] = []
    sides = {name: lambda name=name: order.append(name) for name in "ab"}
    found = in_turn(sides, rounds=2, device=torch.device("cpu"))
    assert order == ["a", "b"] * 3
    assert {name: len(times) for name, times in found.items()} == {"a": 2, "b": 2}
    with pytest.raises(ValueError, match="one at least"):
        in_turn(sides, rounds=0, device=torch.device("cpu"))


def test_memory_that_was_held_and_let_go_counts() -> None:
    meter = Peak(torch.device("cpu"))
    clock(lambda: torch.ones(16 << 20), torch.device("cpu"))
    assert meter.bytes > 48 << 20
    assert resident("VmHWM") >= resident("RssAnon") > 0
    with pytest.raises(RuntimeError, match="no line VmNothing"):
        resident("VmNothing")


def test_a_process_of_its_own_answers_with_its_own_words() -> None:
    with pytest.raises(BenchError, match="nobody here answers 'riddle'"):
        child.ask("riddle", {})


class Copies:
    """What copies weights where host and device are one."""

    def __init__(self) -> None:
        self.copied = self.finished = 0

    def to_host(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.clone()

    def to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        self.copied += 1
        return tensor.clone()

    def finish(self) -> None:
        self.finished += 1


def test_weights_come_back_from_host_memory() -> None:
    model, mover = build("tiny-sd15", CPU), Copies()
    side = side_for(model, None)
    params = job_params(model, steps=2, images=1, width=side, height=side)
    *_, before = generate(model, params)
    figure = from_host(model, params, 2, mover)
    *_, after = generate(model, params)
    assert len(figure.values) == 2 and min(figure.values) > 0
    assert mover.finished == 3 and mover.copied % 3 == 0 < mover.copied
    assert difference(list(before.pictures or ()), list(after.pictures or ())) == 0
