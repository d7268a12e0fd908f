"""The choice of a layout by an invented clock, and networks that keep theirs to the end.

What a GPU does is done here by PyTorch's own convolutions: on a CPU ours take other ways.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from diffusion import tail
from diffusion.adapters import load_lora, match, patched, patched_rows
from diffusion.kernels import group_norm, layout
from diffusion.kernels.layout import (
    Convolving,
    Level,
    arrange,
    fastest_layout,
    layout_of,
    levels_of,
    time_layout,
)
from diffusion.machine import Machine, Tail
from diffusion.model import Model
from diffusion.networks import convolution
from diffusion.networks.configs import (
    ControlNetConfig,
    DDPMConfig,
    TinyVAEConfig,
    UNetConfig,
    VAEConfig,
)
from diffusion.networks.controlnet import ControlNet
from diffusion.networks.ddpm import DDPMUNet
from diffusion.networks.tiny import TinyDecoder
from diffusion.networks.unet import UNet
from diffusion.networks.vae import AutoencoderKL
from diffusion.slot_painting import SlotPainting
from tests.parity.twins import fill
from tests.test_diffusion_kernels_attention import Event
from tests.test_diffusion_kernels_checks import numbers, same
from tests.tiny import prepared, tiny_model
from tests.toy_runs import PARAMS, paint

CUDA, HALF = torch.device("cuda"), torch.float16
PLANAR, LAST = torch.contiguous_format, torch.channels_last
LEVELS = (Level(channels=32, groups=4, side=8), Level(channels=64, groups=8, side=4))
SMALL: dict[str, Any] = {
    "model_channels": 32,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "transformer_depth": (1, 1),
    "heads": 2,
}
TEXT = UNetConfig(context_dim=8, **SMALL)
SMALL_VAE: dict[str, Any] = {"channels": 32, "channel_mult": (1, 2), "num_res_blocks": 1}
# Every kind of block there is: transformers with convolutions and with linear layers at their ends,
# plain attention, resolutions changed in blocks of their own and inside others.
NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "sd1": lambda: UNet(TEXT),
    "sdxl": lambda: UNet(UNetConfig(context_dim=8, linear_projection=True, **SMALL)),
    "ldm": lambda: UNet(
        UNetConfig(
            context_dim=None,
            attention="plain",
            scale_shift_norm=True,
            resblock_updown=True,
            **SMALL,
        )
    ),
    "ddpm": lambda: DDPMUNet(
        DDPMConfig(
            model_channels=32, channel_mult=(1, 2), attention=(False, True), num_res_blocks=1
        )
    ),
    "vae": lambda: AutoencoderKL(VAEConfig(attention=(False, True), **SMALL_VAE)),
    "emoji": lambda: AutoencoderKL(VAEConfig(patch_size=2, quant_convs=False, **SMALL_VAE)),
}


class Clock:
    """Says how long a pass takes in each layout; one that is missing has no room."""

    def __init__(self, times: Mapping[torch.memory_format, float]) -> None:
        self.times = times
        self.asked: list[tuple[torch.memory_format, Convolving]] = []

    def __call__(self, layout: torch.memory_format, shape: Convolving) -> float | None:
        self.asked.append((layout, shape))
        return self.times.get(layout)


def prefers_last() -> Clock:
    return Clock({PLANAR: 2.0, LAST: 1.0})


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let convolutions be PyTorch's own, as they are for anything but float32 on a CPU."""
    monkeypatch.setattr(convolution, "is_plain", lambda *_: False)


def made(name: str) -> nn.Module:
    network = NETWORKS[name]().eval().requires_grad_(False)
    fill(network, seed=1)
    return network


def run(network: nn.Module) -> Tensor:
    """Run a network once over fixed numbers: two rows, or one picture there and back."""
    with torch.inference_mode():
        if isinstance(network, AutoencoderKL):
            return network.decode(network.encode(numbers(1, 3, 16, 12)))
        times = torch.tensor([5.0, 900.0])
        if isinstance(network, DDPMUNet):
            return cast(Tensor, network(numbers(2, 3, 8, 8), times))
        assert isinstance(network, UNet)
        # Odd sizes: the way up is told them.
        x = numbers(2, network.config.in_channels, 7, 6)
        context = numbers(2, 3, 8, seed=1) if network.config.context_dim else None
        return cast(Tensor, network(x, times, context))


def maps_of(network: nn.Module) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Run a network; return what it gave, and the maps that its modules got and gave, by name."""
    maps: dict[str, Tensor] = {}
    handles = []
    for name, module in network.named_modules():

        def note(_: nn.Module, inputs: Any, output: Any, name: str = name) -> None:  # noqa: ANN401
            for key, x in ((f"into {name}", inputs[0]), (name, output)):
                if isinstance(x, Tensor) and x.dim() == 4:
                    maps[key] = x

        handles.append(module.register_forward_hook(note))
    output = run(network)
    for handle in handles:
        handle.remove()
    return output, maps


def is_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=LAST) and not x.is_contiguous()


@pytest.mark.parametrize(
    ("times", "chosen"),
    [
        ({PLANAR: 1.0, LAST: 0.9}, LAST),
        ({PLANAR: 1.0, LAST: 0.92}, PLANAR),
        ({PLANAR: 1.0, LAST: 3.0}, PLANAR),
        ({PLANAR: 1.0}, PLANAR),
        ({LAST: 1.0}, PLANAR),
        ({}, PLANAR),
    ],
)
def test_channels_last_must_be_faster_by_a_margin(
    times: Mapping[torch.memory_format, float], chosen: torch.memory_format
) -> None:
    assert fastest_layout(LEVELS, "cuda", HALF, timer=Clock(times)) is chosen


def test_levels_are_timed_once() -> None:
    clock = prefers_last()
    for _ in range(3):
        assert fastest_layout(LEVELS, CUDA, HALF, timer=clock) is LAST
    shape = Convolving(LEVELS, HALF, CUDA)
    assert clock.asked == [(PLANAR, shape), (LAST, shape)]
    fastest_layout(LEVELS[:1], CUDA, HALF, timer=clock)
    fastest_layout(LEVELS, CUDA, torch.bfloat16, timer=clock)
    fastest_layout(LEVELS, "cuda:1", HALF, timer=clock)
    assert len(clock.asked) == 8


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_no_other_device_is_timed(device: str) -> None:
    clock = prefers_last()
    assert fastest_layout(LEVELS, device, HALF, timer=clock) is PLANAR
    assert fastest_layout((), "cuda", HALF, timer=clock) is PLANAR
    assert clock.asked == []


@pytest.mark.parametrize("chosen", [PLANAR, LAST])
def test_the_real_clock_runs_every_level(
    monkeypatch: pytest.MonkeyPatch, chosen: torch.memory_format
) -> None:
    """On a CPU, with events that only pretend: what it measures on a GPU is another matter."""
    runs: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    norms: list[tuple[int, bool]] = []

    def norm(x: Tensor, groups: int, *values: Any, silu: bool) -> Tensor:  # noqa: ANN401
        assert is_last(x) == (chosen is LAST)
        norms.append((groups, silu))
        return group_norm(x, groups, *values, silu=silu)

    def convolve(x: Tensor, weight: Tensor, *, padding: int) -> Tensor:
        assert is_last(x) == is_last(weight) == (chosen is LAST)
        assert padding == 1 and not torch.is_grad_enabled()
        runs.append((tuple(x.shape), tuple(weight.shape)))
        return x

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(layout, "group_norm", norm)
    monkeypatch.setattr(functional, "conv2d", convolve)
    before = torch.get_rng_state()
    shape = Convolving(LEVELS, torch.float32, torch.device("cpu"))
    assert time_layout(chosen, shape) == 2.0
    assert runs == [((2, 32, 8, 8), (32, 32, 3, 3)), ((2, 64, 4, 4), (64, 64, 3, 3))] * 13
    assert norms == [(4, True), (8, True)] * 13
    same(torch.get_rng_state(), before)


@pytest.mark.parametrize("place", ["randn", "conv2d"])
def test_no_room_is_no_time(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch if place == "randn" else functional, place, full)
    assert time_layout(LAST, Convolving(LEVELS, torch.float32, torch.device("cpu"))) is None


def test_levels_are_those_of_the_network() -> None:
    def sizes(config: object) -> list[tuple[int, int, int]]:
        levels = levels_of(cast(nn.Module, SimpleNamespace(config=config)))
        return [(level.channels, level.groups, level.side) for level in levels]

    sd1 = [(320, 32, 64), (640, 32, 32), (1280, 32, 16), (1280, 32, 8)]
    assert sizes(UNetConfig()) == sizes(ControlNetConfig()) == sd1
    sdxl = UNetConfig(channel_mult=(1, 2, 4), added_dim=2816)
    assert sizes(sdxl) == [(320, 32, 128), (640, 32, 64), (1280, 32, 32)]
    assert sizes(VAEConfig()) == [(128, 32, 512), (256, 32, 256), (512, 32, 128), (512, 32, 64)]
    assert sizes(VAEConfig(patch_size=4, channel_mult=(1, 2)))[0] == (128, 32, 128)
    assert sizes(DDPMConfig(norm_groups=16))[1] == (256, 16, 16)
    assert sizes(TinyVAEConfig()) == []
    assert levels_of(nn.Conv2d(4, 4, 3)) == ()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_laid_out_in_place_and_bit_for_bit(name: str) -> None:
    network, twin = made(name), made(name)
    parameters = dict(network.named_parameters())
    clock = prefers_last()
    arrange(network, CUDA, HALF, timer=clock)
    assert clock.asked == [
        (each, Convolving(levels_of(network), HALF, CUDA)) for each in (PLANAR, LAST)
    ]
    assert layout_of(network) is LAST and layout_of(twin) is PLANAR
    for key, weight in network.named_parameters():
        assert weight is parameters[key]
        assert not weight.requires_grad
        if weight.dim() == 4:
            assert weight.is_contiguous(memory_format=LAST), key
        else:
            assert weight.is_contiguous()
        same(weight, twin.get_parameter(key))
    # And back, where something else turns out to be faster.
    arrange(network, CUDA, HALF, timer=Clock({PLANAR: 1.0}))
    assert layout_of(network) is PLANAR
    for key, weight in network.named_parameters():
        assert weight.is_contiguous()
        same(weight, twin.get_parameter(key))


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("arranged", [False, True])
@pytest.mark.usefixtures("as_on_a_gpu")
def test_a_network_runs_whatever_mode_it_was_laid_out_in(loaded: bool, arranged: bool) -> None:
    with torch.inference_mode(loaded):
        network = made("sd1")
    wanted = run(network)
    with torch.inference_mode(arranged):
        arrange(network, CUDA, HALF, timer=prefers_last())
    torch.testing.assert_close(run(network), wanted, rtol=1e-5, atol=1e-5)


def test_a_cpu_and_unknown_networks_stay_as_they_are() -> None:
    clock = prefers_last()
    network, other = made("sd1"), TinyDecoder(TinyVAEConfig(width=8, blocks=(1,)))
    laid_out = made("sd1")
    arrange(laid_out, CUDA, HALF, timer=prefers_last())
    places = [weight.data_ptr() for weight in (*network.parameters(), *other.parameters())]
    arrange(network, torch.device("cpu"), torch.float32, timer=clock)
    arrange(other, CUDA, HALF, timer=clock)
    assert [w.data_ptr() for w in (*network.parameters(), *other.parameters())] == places
    assert layout_of(network) is layout_of(other) is PLANAR
    arrange(laid_out, torch.device("cpu"), torch.float32, timer=clock)
    assert layout_of(laid_out) is LAST
    assert clock.asked == []


class Moves(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes, at every copy, how many of a network's weights lie elsewhere than before."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.weights = [(weight, weight.data_ptr()) for weight in network.parameters()]
        self.done: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        if func is torch.ops.aten._to_copy.default:
            self.done.append(sum(weight.data_ptr() != at for weight, at in self.weights))
        return func(*args, **(kwargs or {}))


def test_weights_are_never_held_twice() -> None:
    """Each is in its place before the next is copied."""
    network = made("sd1")
    with Moves(network) as moves:
        arrange(network, CUDA, HALF, timer=prefers_last())
    assert len(moves.done) > 10
    assert moves.done == list(range(len(moves.done)))


@pytest.mark.parametrize("chosen", [PLANAR, LAST])
def test_what_is_laid_out_already_is_not_copied(chosen: torch.memory_format) -> None:
    network = made("sd1")
    clock = Clock({PLANAR: 1.0, chosen: 0.5})
    if chosen is LAST:
        arrange(network, CUDA, HALF, timer=clock)
    with Moves(network) as moves:
        arrange(network, CUDA, HALF, timer=clock)
    assert moves.done == []
    assert layout_of(network) is chosen


def test_copies_keep_the_layout() -> None:
    """Models move between a device and host memory by these (see `diffusion.residency`)."""
    network = made("sd1")
    arrange(network, CUDA, HALF, timer=prefers_last())
    for weight in network.parameters():
        copies = (
            torch.empty_like(weight, device="cpu").copy_(weight),
            weight.to("cpu", copy=True),
            weight.to("meta", non_blocking=True),
            weight.clone(),
            weight.to(HALF),
        )
        assert {each.stride() for each in copies} == {weight.stride()}
        same(copies[0], weight)
    first = network.get_parameter("input_blocks.0.0.weight")
    first.data = torch.empty_like(first).copy_(first)
    assert layout_of(network) is LAST
    assert layout_of(network.to(HALF)) is LAST
    assert layout_of(copy.deepcopy(network)) is LAST


def test_weights_that_are_away_or_are_in_both_layouts_have_none_of_their_own() -> None:
    """What stands for those away has one number: whoever asks then must not fail."""
    network = made("sd1")
    for weight in network.parameters():
        weight.data = torch.full((1,), torch.nan).expand(weight.shape)
    assert layout_of(network) is PLANAR
    assert layout_of(nn.Linear(2, 2)) is PLANAR
    pointwise = nn.Conv2d(4, 4, 1)
    pointwise.weight.data = pointwise.weight.data.to(memory_format=LAST)
    assert layout_of(pointwise) is PLANAR


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_keeps_its_layout_to_the_end(name: str) -> None:
    """From contiguous input on: the first convolution turns it, and nothing turns it back."""
    network = made(name)
    wanted, planar = maps_of(network)
    arrange(network, CUDA, HALF, timer=prefers_last())
    found, maps = maps_of(network)
    turned = [key for key in maps if key not in GIVEN]
    assert len(turned) > 80
    assert [key for key in turned if not is_last(maps[key])] == []
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    for key in turned:
        torch.testing.assert_close(maps[key], planar[key], rtol=1e-4, atol=1e-4)
    # Nor does a contiguous network turn: what its blocks hand on, and what skips them.
    stages = [k for k, m in network.named_modules() if type(m).__name__ in BLOCKS and k in planar]
    assert len(stages) > 5
    assert [key for key in stages if not planar[key].is_contiguous()] == []


# What is got as it was given.
GIVEN = [
    f"into {name}"
    for name in ("", "input_blocks.0", "input_blocks.0.0", "conv_in", "encoder", "encoder.conv_in")
]
BLOCKS = (
    "ResBlock", "Block", "Stage", "Level", "Middle", "SpatialTransformer", "AttentionBlock",
    "Attention", "Downsample", "Upsample",
)  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_a_cpu_computes_the_same_from_either_layout(name: str) -> None:
    """By its own ways of convolving, which know one layout only."""
    network = made(name)
    wanted = run(network)
    arrange(network, CUDA, HALF, timer=prefers_last())
    torch.testing.assert_close(run(network), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_seamless_borders_are_turned_back() -> None:
    """PyTorch's circular padding is contiguous; the convolution behind it is not."""
    network = made("sd1")
    with convolution.borders(seamless=True):
        wanted = run(network)
        arrange(network, CUDA, HALF, timer=prefers_last())
        found, maps = maps_of(network)
    assert all(is_last(x) for key, x in maps.items() if "into" not in key)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("which", ["both", "unet", "control"])
@torch.inference_mode()
def test_a_controlnet_of_either_layout_steers_a_unet_of_either(which: str) -> None:
    unet = cast(UNet, made("sd1"))
    control = ControlNet(ControlNetConfig(unet=TEXT, hint_widths=(8, 8))).eval()
    fill(control, seed=2)
    x, times, context = numbers(2, 4, 7, 6), torch.tensor([5.0, 900.0]), numbers(2, 3, 8, seed=1)
    hint = numbers(2, 3, 14, 12, seed=3).sigmoid()

    def steered() -> tuple[Tensor, list[Tensor]]:
        residuals = control(x, hint, times, context)
        return cast(Tensor, unet(x, times, context, control=residuals)), residuals

    wanted, _ = steered()
    for name, network in (("unet", unet), ("control", control)):
        if which in ("both", name):
            arrange(network, CUDA, HALF, timer=prefers_last())
    skips: list[Tensor] = []
    for stage in unet.output_blocks:
        stage.register_forward_pre_hook(lambda _, inputs: skips.append(inputs[0]))
    found, residuals = steered()
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    # What is added never turns the U-Net's maps.
    assert all(is_last(each) == (which != "unet") for each in residuals)
    assert all(is_last(each) == (which != "control") for each in skips)


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("kind", ["lora", "cp", "dora", "diff", "loha"])
@torch.inference_mode()
def test_loras_on_convolutions_work_in_either_layout(kind: str, tmp_path: Path) -> None:
    network, twin = cast(UNet, made("sd1")), cast(UNet, made("sd1"))
    arrange(network, CUDA, HALF, timer=prefers_last())
    layer = "lora_unet_input_blocks_1_0_in_layers_2"
    low = {"lora_down.weight": numbers(2, 32, 3, 3), "lora_up.weight": numbers(32, 2, 1, 1)}
    cp = {
        "lora_down.weight": numbers(2, 32, 1, 1),
        "lora_mid.weight": numbers(2, 2, 3, 3),
        "lora_up.weight": numbers(32, 2, 1, 1),
    }
    loha = {f"hada_w{n}_{s}": numbers(*((32, 2) if s == "a" else (2, 288)), seed=n)
            for n in (1, 2) for s in "ab"}  # fmt: skip
    parts: Mapping[str, Mapping[str, Tensor]] = {
        "lora": low,
        "cp": cp,
        "dora": low | {"dora_scale": numbers(1, 32, 1, 1).abs()},
        "diff": {"diff": numbers(32, 32, 3, 3) / 9},
        "loha": loha,
    }
    path = tmp_path / "one.safetensors"
    save_file({f"{layer}.{key}": value for key, value in parts[kind].items()}, path)
    found = []
    for unet in (network, twin):
        matched = match(load_lora(path), unet)
        assert matched.unet
        plain = run(unet)
        with patched(unet, [(matched.unet, 0.7)]):
            found.append(run(unet))
        with patched_rows(unet, [[], [(matched.unet, 0.7)]]):
            rows = run(unet)
        torch.testing.assert_close(rows[:1], plain[:1], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(rows[1:], found[-1][1:], rtol=1e-5, atol=1e-5)
        assert (found[-1] - plain).abs().max() > 1e-2
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("chosen", [PLANAR, LAST])
@pytest.mark.parametrize("inpainting", [False, True])
def test_rows_are_gathered_in_the_layout_of_the_network(
    chosen: torch.memory_format, inpainting: bool
) -> None:
    network = nn.Conv2d(9 if inpainting else 4, 8, 3)
    network.weight.data = network.weight.data.contiguous(memory_format=chosen)
    model = SimpleNamespace(backbone=network, device=torch.device("cpu"), dtype=HALF)
    beside = numbers(5, 6, 7) if inpainting else None
    paintings = [SimpleNamespace(rows=n, sigma=float(n), channels=beside) for n in (2, 1)]
    x = numbers(2, 4, 6, 7)
    rows = tail._inputs(cast(Model, model), cast(list[SlotPainting], paintings), x)
    assert rows.shape == (3, 9 if inpainting else 4, 6, 7)
    assert rows.is_contiguous(memory_format=chosen)
    scaled = torch.stack([x[0] / 5**0.5, x[0] / 5**0.5, x[1] / 2**0.5])
    torch.testing.assert_close(rows[:, :4], scaled.half(), rtol=1e-3, atol=1e-3)
    if beside is not None:
        same(rows[:, 4:], beside.half().expand(3, -1, -1, -1))


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("steps", ["tables", "coroutines"])
def test_pictures_are_the_same_from_either_layout(steps: Tail) -> None:
    """From the machine's gathering, or from rows that were stacked on the host."""
    model = tiny_model()
    network = copy.deepcopy(model.backbone)
    arrange(network, CUDA, HALF, timer=prefers_last())
    seen: list[Tensor] = []
    first = network.get_submodule("input_blocks.0.0")
    first.register_forward_hook(lambda _, inputs, output: seen.extend((inputs[0], output)))
    found = []
    for one in (model, replace(model, backbone=network)):
        machine = Machine(max_batch=8, tail=steps)
        job = prepared(machine, one, PARAMS)
        paint(machine)
        end = job.paintings[0].finished
        assert end is not None
        found.append(end)
    assert seen and all(is_last(x) for x in seen[1::2])
    assert all(is_last(x) == (steps == "tables") for x in seen[::2])
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-3)
