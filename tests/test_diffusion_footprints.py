"""Bytes of a pass: the estimate by shapes alone against what the allocator really gave."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from diffusion.footprints import (
    MARGIN,
    Footprint,
    decode_bytes,
    encode_bytes,
    pass_bytes,
)
from diffusion.networks.configs import DDPMConfig, UNetConfig, VAEConfig
from diffusion.networks.ddpm import DDPMUNet
from diffusion.networks.unet import UNet
from diffusion.networks.vae import Decoder, Encoder
from tests.thinning import thinned
from tests.tiny import PRESET

# Stable Diffusion 1 in structure, and XL's: deep transformers, linear projections, an added vector.
SD1 = UNetConfig(model_channels=64, heads=8, context_dim=128)
XL = UNetConfig(
    model_channels=64,
    channel_mult=(1, 2, 4),
    transformer_depth=(0, 2, 4),
    middle_depth=4,
    heads=None,
    head_dim=32,
    context_dim=128,
    linear_projection=True,
    added_dim=96,
)
DDPM = DDPMConfig(model_channels=32)
TEXT = 77


def footprint(config: UNetConfig | DDPMConfig, side: tuple[int, int] = (32, 32)) -> Footprint:
    context = TEXT if isinstance(config, UNetConfig) and config.context_dim else 0
    return Footprint(
        config=config, height=side[0], width=side[1], context=context, dtype=torch.float32
    )


def peak_of(run: Callable[[], object], path: Path) -> int:
    """The most bytes that PyTorch's allocator had given out at once, more than at the start."""
    with torch.inference_mode():
        run()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            run()
    profiled.export_chrome_trace(str(path))
    events = [
        event
        for event in json.loads(path.read_text())["traceEvents"]
        if event.get("name") == "[memory]"
    ]
    events.sort(key=lambda event: event["ts"])
    totals = [event["args"]["Total Allocated"] for event in events]
    return int(max(totals) - totals[0] + events[0]["args"]["Bytes"])


def real_pass(config: UNetConfig | DDPMConfig, rows: int) -> Callable[[], object]:
    if isinstance(config, DDPMConfig):
        plain = DDPMUNet(config).eval().requires_grad_(False)

        def run_plain() -> object:
            times = torch.stack([plain.time_row(3.0)] * rows)
            return plain.run(torch.randn(rows, config.in_channels, 32, 32), times, ())

        return run_plain
    network = UNet(config).eval().requires_grad_(False)

    def run() -> object:
        added = torch.zeros(rows, config.added_dim) if config.added_dim else None
        context = torch.randn(rows, TEXT, config.context_dim or 0)
        x = torch.randn(rows, config.in_channels, 32, 32)
        times, contexts = network.rows(torch.full((rows,), 3.0), context, added, None)
        return network.run(x, times, contexts)

    return run


@pytest.mark.parametrize("rows", thinned([4, 1], every=2))
@pytest.mark.parametrize(
    "config", [PRESET.unet, SD1, XL, DDPM], ids=["tiny", "sd1", "sdxl", "ddpm"]
)
def test_a_pass_takes_no_more_than_estimated_and_no_less_than_half(
    config: UNetConfig | DDPMConfig, rows: int, tmp_path: Path
) -> None:
    real = peak_of(real_pass(config, rows), tmp_path / "trace.json")
    found = pass_bytes(footprint(config))
    assert real <= found.of(rows)
    # What kernels take once may not be taken; the activations are.
    assert real >= found.row * rows / MARGIN


@pytest.mark.parametrize("config", [PRESET.vae.config, VAEConfig(channels=32)], ids=["tiny", "kl"])
def test_coders_take_no_more_than_estimated_and_no_less_than_half(
    config: VAEConfig, tmp_path: Path
) -> None:
    decoder = Decoder(config).eval().requires_grad_(False)
    latents = torch.randn(1, config.z_channels, 24, 16)
    real = peak_of(lambda: decoder(latents), tmp_path / "decode.json") + latents.nbytes
    assert real <= decode_bytes(config, 24, 16, torch.float32) <= 2 * real + _once(decoder)
    encoder = Encoder(config, out_channels=2 * config.z_channels).eval().requires_grad_(False)
    images = torch.randn(1, 3, 24 * config.downscale, 16 * config.downscale)
    real = peak_of(lambda: encoder(images), tmp_path / "encode.json") + images.nbytes
    assert real <= encode_bytes(config, 24, 16, torch.float32) <= 2 * real + _once(encoder)


def _once(network: torch.nn.Module) -> int:
    return 2**20 + max(weight.nbytes for weight in network.parameters())


def test_the_skip_connections_are_in_it() -> None:
    """The estimate cannot be below what a U-Net keeps from its contracting half: that would mean
    the walk forgets what is alive.
    """
    widths = [64] * 3 + [64] + [128] * 2 + [128] + [256] * 2 + [256] + [256] * 2
    sides = [32] * 3 + [16] * 3 + [8] * 3 + [4] * 3
    kept = sum(4 * w * s * s for w, s in zip(widths, sides, strict=True))
    assert pass_bytes(footprint(SD1)).row > kept


def test_halves_take_half_areas_scale_and_extras_cost() -> None:
    plain = pass_bytes(footprint(SD1))
    half = Footprint(config=SD1, height=32, width=32, context=TEXT, dtype=torch.float16)
    assert 2 * pass_bytes(half).row == pytest.approx(plain.row, rel=0.01)
    larger = pass_bytes(footprint(SD1, (64, 64)))
    # Keys and values of the text do not grow.
    assert 3 * plain.row < larger.row <= 4 * plain.row
    steered = Footprint(
        config=SD1, height=32, width=32, context=TEXT, dtype=torch.float32, controls=1
    )
    assert pass_bytes(steered).row == 2 * plain.row


@pytest.mark.parametrize(
    "config",
    [
        UNetConfig(
            model_channels=32, heads=2, num_classes=10, context_dim=16, upcast_attention=True
        ),
        UNetConfig(model_channels=32, heads=2, guidance_dim=8, resblock_updown=True),
        UNetConfig(
            model_channels=32, heads=2, context_dim=None, attention="plain", scale_shift_norm=True
        ),
    ],
    ids=["classes", "guidance", "plain"],
)
@pytest.mark.parametrize("seamless", [False, True])
def test_every_kind_of_network_can_be_walked(config: UNetConfig, seamless: bool) -> None:
    found = pass_bytes(
        Footprint(
            config=config,
            height=24,
            width=40,
            context=TEXT,
            dtype=torch.float16,
            seamless=seamless,
        )
    )
    assert found.row > 2 * 32 * 24 * 40


def test_the_size_of_stable_diffusion() -> None:
    """A row of 512 x 512 in float32 has 142 MiB alive at most, a decode 768: walked in
    milliseconds, no byte of it taken.
    """
    assert pass_bytes(footprint(UNetConfig(), (64, 64))).row == pytest.approx(
        142.5 * 2**20, rel=0.05
    )
    assert decode_bytes(VAEConfig(), 64, 64, torch.float32) == pytest.approx(
        1.4 * 768 * 2**20, rel=0.05
    )
