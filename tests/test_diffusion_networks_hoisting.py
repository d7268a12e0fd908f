"""What is constant over the steps is computed once, and a row's bits are its own in any company."""

from collections.abc import Iterator, Sequence
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from diffusion.exact import same_bits
from diffusion.loading import load_model
from diffusion.model import Backbone
from diffusion.networks.configs import ControlNetConfig, DDPMConfig, UNetConfig
from diffusion.networks.controlnet import ControlNet
from diffusion.networks.ddpm import DDPMUNet
from diffusion.networks.unet import UNet
from tests.parity.test_networks import UNETS
from tests.parity.twins import fill
from tests.thinning import thinned

ROWS = 8
SIZES = (2, 3, 4, 8)
SHIPPED = "shipped"
DDPM = DDPMConfig(model_channels=32, channel_mult=(1, 2), num_res_blocks=1, attention=(False, True))
PLAIN = UNetConfig(
    model_channels=32, channel_mult=(1, 2), transformer_depth=(0, 1), heads=2,
    context_dim=None, attention="plain", scale_shift_norm=True, resblock_updown=True,
)  # fmt: skip


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def network(name: str) -> Backbone:
    if name == SHIPPED:
        return load_model("emoji").backbone
    unet: Backbone = DDPMUNet(DDPM) if name == "ddpm" else UNet({**UNETS, "plain": PLAIN}[name])
    fill(unet, seed=3)
    return unet.eval()


class Inputs:
    """Everything that `ROWS` rows of a network are given, from one seed."""

    def __init__(self, unet: Backbone, height: int, width: int) -> None:
        generator = torch.Generator().manual_seed(4)
        config = unet.config
        self.x = torch.randn(ROWS, config.in_channels, height, width, generator=generator)
        self.timesteps = torch.rand(ROWS, generator=generator) * 999
        self.context: Tensor | None = None
        self.added: Tensor | None = None
        self.guidance: Tensor | None = None
        if isinstance(config, DDPMConfig):
            return
        if config.context_dim:
            self.context = torch.randn(ROWS, 9, config.context_dim, generator=generator)
        if config.added_dim:
            self.added = torch.randn(ROWS, config.added_dim, generator=generator)
        if config.num_classes:
            self.added = torch.arange(ROWS)
        if config.guidance_dim:
            self.guidance = torch.rand(ROWS, generator=generator) * 7

    def rows(self, unet: Backbone) -> tuple[Tensor, list[Tensor]]:
        """Return stacked time rows and context rows, by the two public methods alone."""
        times, contexts = [], []
        for row in range(ROWS):
            added = None if self.added is None else self.added[row]
            guidance = None if self.guidance is None else float(self.guidance[row])
            times.append(unet.time_row(float(self.timesteps[row]), added, guidance))
            contexts.append(unet.context_row(None if self.context is None else self.context[row]))
        return torch.stack(times), [torch.stack(rows) for rows in zip(*contexts, strict=True)]


def company(unet: Backbone, given: Inputs, size: int, *, broken: bool = False) -> Tensor:
    """Run all rows, `size` at a time, each batch filled up by neighbours; `broken` ones are NaN."""
    times, contexts = given.rows(unet)
    outputs = []
    for start in range(0, ROWS, size):
        numbers = [n % ROWS for n in range(start, start + size)]
        own = numbers[:1] if broken else numbers[: ROWS - start]
        x = given.x[numbers].clone()
        if broken:
            x[1:] = torch.nan
        out = unet.run(x, times[numbers], [part[numbers] for part in contexts])
        outputs.append(out[: len(own)])
    return torch.cat(outputs)


def disagreeing(unet: Backbone, given: Inputs, sizes: Sequence[int] = SIZES) -> list[int]:
    """Return the batch sizes in which some row has other bits than in a batch of two."""
    alone = company(unet, given, 2)
    wrong = [size for size in sizes if not torch.equal(company(unet, given, size), alone)]
    for size in sizes:
        if not torch.equal(company(unet, given, size, broken=True), alone[::size]):
            wrong.append(size)
    return wrong


@pytest.mark.parametrize("side", thinned([8, 16, 24], every=3))
def test_a_row_of_the_shipped_model_has_its_bits_in_any_company(side: int) -> None:
    unet = network(SHIPPED)
    assert disagreeing(unet, Inputs(unet, side, side)) == []


@pytest.mark.parametrize("name", ["sd1", "sdxl"])
def test_a_row_of_a_small_model_has_its_bits_in_any_company(name: str) -> None:
    unet = network(name)
    assert disagreeing(unet, Inputs(unet, 16, 16)) == []


class Mean(nn.Module):
    """A layer broken on purpose: it looks at its neighbours."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        out = cast(Tensor, self.layer(x))
        return out + 1e-6 * out.mean(dim=0, keepdim=True)


def test_a_layer_that_looks_at_its_neighbours_is_found() -> None:
    unet = cast(UNet, network("sd1"))
    given = Inputs(unet, 8, 8)
    stage = cast(nn.ModuleList, unet.middle_block)
    block = stage[0]
    last = cast(nn.Sequential, block.out_layers)
    last[3] = Mean(last[3])
    assert set(disagreeing(unet, given)) == set(SIZES)


@pytest.mark.parametrize("name", [*UNETS, "plain", "ddpm", SHIPPED])
def test_forward_and_run_give_the_same_bits(name: str) -> None:
    unet = network(name)
    given = Inputs(unet, 10, 12)
    times, contexts = given.rows(unet)
    inputs = (given.x, given.timesteps, given.context, given.added)
    guidance = {} if given.guidance is None else {"guidance": given.guidance}
    assert same_bits(unet(*inputs, **guidance), unet.run(given.x, times, contexts))


def test_control_residuals_reach_run_as_they_reach_forward() -> None:
    unet = cast(UNet, network("sd1"))
    control = ControlNet(ControlNetConfig(unet=UNETS["sd1"], hint_widths=(4, 8))).eval()
    fill(control, seed=5)
    given = Inputs(unet, 8, 8)
    hint = torch.rand(ROWS, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    residuals = control(given.x, hint, given.timesteps, given.context)
    times, contexts = given.rows(unet)
    steered = unet.run(given.x, times, contexts, control=residuals)
    inputs = (given.x, given.timesteps, given.context)
    assert same_bits(unet(*inputs, control=residuals), steered)
    assert not torch.equal(unet(*inputs), steered)
    with pytest.raises(ValueError, match="takes 12 control residuals"):
        unet.run(given.x, times, contexts, control=residuals[1:])


def test_rows_of_a_controlnet_do_not_depend_on_their_number() -> None:
    control = ControlNet(ControlNetConfig(unet=UNETS["sd1"], hint_widths=(4, 8))).eval()
    fill(control, seed=5)
    unet = cast(UNet, network("sd1"))
    given = Inputs(unet, 16, 16)
    assert given.context is not None
    hint = torch.rand(ROWS, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    inputs = (given.x, hint, given.timesteps, given.context)
    whole = control(*inputs)
    pairs = control(*(part[:2] for part in inputs))
    assert all(torch.equal(a[:2], b) for a, b in zip(whole, pairs, strict=True))


def test_rows_say_what_they_need() -> None:
    text, xl = cast(UNet, network("sd1")), cast(UNet, network("sdxl"))
    guided, pixels = cast(UNet, network("guided")), network("ddpm")
    context = torch.zeros(3, 24)
    with pytest.raises(ValueError, match=r"needs a context \(24\), and got none"):
        text.context_row(None)
    with pytest.raises(ValueError, match=r"takes no context, and got one of shape \(3, 24\)"):
        cast(UNet, network("plain")).context_row(context)
    with pytest.raises(ValueError, match="takes no added vector"):
        text.time_row(5.0, torch.zeros(9))
    with pytest.raises(ValueError, match="needs an added vector"):
        xl.time_row(5.0)
    with pytest.raises(ValueError, match="needs a guidance scale"):
        guided.time_row(5.0)
    with pytest.raises(ValueError, match="takes no guidance scale"):
        text.time_row(5.0, guidance=1.5)
    for refused in (
        lambda: pixels.time_row(5.0, torch.zeros(9)),
        lambda: pixels.time_row(5.0, guidance=1.5),
        lambda: pixels.context_row(context),
        lambda: pixels.run(torch.zeros(2, 3, 4, 4), torch.zeros(2, 9), [context]),
        lambda: pixels.run(torch.zeros(2, 3, 4, 4), torch.zeros(2, 9), (), control=[context]),
    ):
        with pytest.raises(ValueError, match="unconditional"):
            refused()


def test_rows_have_the_documented_shapes() -> None:
    unet = cast(UNet, network("sdxl")).to(torch.bfloat16)
    row = unet.time_row(801.5, torch.zeros(16 + 6 * 8))
    widths = [module.time_width for module in unet._residual_blocks()]
    assert (row.shape, row.dtype) == ((sum(widths),), torch.bfloat16)
    parts = unet.context_row(torch.zeros(7, 40, dtype=torch.bfloat16))
    # Depths 1 and 2 down, 2 in the middle, and once more for every block on the way up.
    assert len(parts) == 2 * (2 * 1 + 2 * 2 + 2 + 3 * 1 + 3 * 2)
    assert {part.shape for part in parts} == {(2, 7, 32)}


def test_a_class_comes_as_a_number_of_any_shape() -> None:
    unet = cast(UNet, network("classes"))
    rows = [unet.time_row(5.0, torch.tensor(value)) for value in (3, [3], 3.0, [[3.0]])]
    assert all(torch.equal(row, rows[0]) for row in rows)
    assert not torch.equal(unet.time_row(5.0, torch.tensor(4)), rows[0])


def test_rows_that_are_trained_together_have_the_gradients_of_rows_alone() -> None:
    with torch.inference_mode(False), torch.enable_grad():
        unet = cast(UNet, network("sd1")).double()
        given = Inputs(unet, 4, 4)
        inputs = (given.x.double(), given.timesteps, cast(Tensor, given.context).double())
        together = unet(*inputs)
        weights = list(unet.parameters())
        gradients = torch.autograd.grad(together.square().sum(), weights)
        alone = torch.cat([unet(*(part[i : i + 1] for part in inputs)) for i in range(ROWS)])
        expected = torch.autograd.grad(alone.square().sum(), weights)
    assert torch.allclose(unet(*inputs), together, rtol=1e-9)
    for a, b in zip(gradients, expected, strict=True):
        # A bias in front of a norm has no gradient but rounding.
        assert float((a - b).norm()) <= 1e-9 * (1 + float(b.norm()))
