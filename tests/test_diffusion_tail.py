"""A tick on a device: nothing is waited for, and what is known late is known in time.

There is no GPU here: tensors are on the CPU, which can be taken for a device that works by itself,
or on the meta device, which has no numbers that anybody could wait for.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from diffusion import Control, NumericalError, Params, Step, rows, transfer
from diffusion import machine as machine_module
from diffusion.adapters.patches import PatchSet
from diffusion.addons import Styles
from diffusion.denoiser import to_denoised
from diffusion.exact import Deterministic
from diffusion.job import Hint, Job
from diffusion.kernels.graphs import Graphs
from diffusion.machine import Machine
from diffusion.model import Model
from diffusion.networks.configs import UNetConfig
from diffusion.networks.controlnet import ControlNet
from diffusion.networks.unet import UNet
from diffusion.slot_painting import SlotPainting
from diffusion.tail import scalings_of, weights_of
from tests.companies import audit
from tests.parity.paths import TOLERANCE
from tests.test_diffusion_kernels_graphs import Notes
from tests.tiny import prepared, tiny_model
from tests.toy import Residuals, Toy, toy_model
from tests.toy_runs import (
    MASKED,
    PARAMS,
    REPAINTED,
    TAILS,
    difference,
    latents,
    paint,
)


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the CPU be a device that works by itself: whatever it says is read a tick later."""
    for module in (machine_module, transfer):
        monkeypatch.setattr(module, "is_apart", lambda _device: True)


class Sick(Toy):
    """A network that gives one word's rows no number, from its n-th pass on."""

    def __init__(self, word: Tensor, passes: int) -> None:
        super().__init__()
        self.word, self.healthy = word, passes

    def run(
        self, x: Tensor, times: Tensor, contexts: Sequence[Tensor], *, control: Residuals = None
    ) -> Tensor:
        output = super().run(x, times, contexts, control=control)
        sick = (contexts[0] == self.word).all(dim=1) & (len(self.passes) > self.healthy)
        return output.masked_fill(sick[:, None, None, None], torch.nan)


def one_is_sick(passes: int) -> tuple[list[int], dict[str, object]]:
    """Run three jobs of four steps, of which one turns sick; return the steps it told, and how
    each one ended.
    """
    model = toy_model()
    assert model.text is not None
    words = model.encode_prompts(["a blue fish"]).context[0]
    sick = replace(model, backbone=Sick(Toy().context_row(words)[0], passes))  # type: ignore[arg-type]
    machine = Machine(max_batch=32, deterministic="fast", tail="tables")
    params = replace(PARAMS, guidance_scale=1.0, negative_prompt="")
    jobs = {
        name: prepared(machine, sick, replace(params, prompt=name))
        for name in ("a red heart", "a blue fish", "cat face")
    }
    # Whole companies from the first pass on.
    for job in jobs.values():
        sick.measured.pace.smallest = 32
        assert job.paintings
    told: list[int] = []
    ends: dict[str, object] = {}
    while machine.busy:
        for job, answer in machine.tick():
            name = job.params.prompt
            if name == "a blue fish" and isinstance(answer, Step):
                told.append(answer.index)
            ends[name] = answer
    assert machine.pools.taken == 0
    for name in ("a red heart", "cat face"):
        end = jobs[name].paintings[0].finished
        assert end is not None
        assert torch.equal(end, latents(model, [replace(params, prompt=name)], "tables")[0])
    return told, ends


@pytest.mark.parametrize("passes", [0, 2, 3])
def test_numbers_that_are_none_fail_their_job_alone(passes: int) -> None:
    told, ends = one_is_sick(passes)
    assert isinstance(ends.pop("a blue fish"), NumericalError)
    assert all(isinstance(end, Step) and end.pictures for end in ends.values())
    assert told == list(range(1, passes + 1))


@pytest.mark.parametrize("passes", [0, 2, 3])
@pytest.mark.usefixtures("apart")
def test_on_a_device_that_is_known_one_tick_later(passes: int) -> None:
    """And never after its pictures: the last answer is waited for before they are decoded."""
    told, ends = one_is_sick(passes)
    error = ends.pop("a blue fish")
    assert isinstance(error, NumericalError)
    assert f"at step {passes + 1};" in str(error)
    assert all(isinstance(end, Step) and end.pictures for end in ends.values())
    assert told == list(range(1, min(passes + 2, 4)))


@pytest.mark.usefixtures("apart")
def test_a_device_that_works_by_itself_paints_the_same() -> None:
    """Jobs come and go while every answer is one tick late."""
    model = toy_model()
    for number in range(51, 56):
        count, wrong = audit(number, lambda _: model, "tables")
        assert not wrong, wrong[0]
        assert count


class Copies(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes what would make the host wait for a device: numbers read, and copies to it that are
    not asked to go on by themselves.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waits: list[str] = []
        self.sent = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        given = kwargs or {}
        name = func.name()
        if name in ("aten::_local_scalar_dense", "aten::equal", "aten::nonzero"):
            self.waits.append(name)
        here, there = args[0] if args else None, given.get("device")
        if name == "aten::copy_":
            here, there = args[1], args[0].device
        if isinstance(here, Tensor) and there is not None and here.device != there:
            asynchronous = given.get("non_blocking") or (
                name == "aten::copy_" and args[2:] == (True,)
            )
            self.sent += 1
            if not asynchronous:
                self.waits.append(f"{name} from {here.device} to {there}")
        return func(*args, **given)


class Lists(TorchFunctionMode):
    """Notes lists as indices: on a GPU they become tensors there, and that is waited for."""

    def __init__(self, waits: list[str]) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        if func in (Tensor.__getitem__, Tensor.__setitem__) and not args[0].is_cpu:
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            self.waits += ["a list as an index" for one in index if isinstance(one, list)]
        return func(*args, **(kwargs or {}))


def on_meta(model: Model) -> Model:
    """The same model on a device without numbers."""
    with torch.device("meta"):
        there = UNet(cast(UNetConfig, model.backbone.config)).eval().requires_grad_(False)
    return replace(model, backbone=there, device=torch.device("meta"))


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every number that is asked for be fine: there are none on the meta device."""
    monkeypatch.setattr(
        transfer.Landing, "tensor", lambda self: torch.ones(self._host.shape, dtype=torch.bool)
    )


MANY = (
    replace(PARAMS, sampler="dpmpp_2m_sde", images=2),
    replace(PARAMS, sampler="heun", guidance_scale=1.0),
    replace(PARAMS, sampler="euler_a", prompt="a heart AND a fish"),
    replace(PARAMS, sampler="unipc", guidance_rescale=0.7, stop=75),
    replace(PARAMS, **REPAINTED, strength=0.8),
)


def waits_of(machine: Machine, model: Model, many: Sequence[Params]) -> Copies:
    """Prepare jobs, then paint them on the meta device; note what a pass waits for."""
    there = on_meta(model)
    jobs = []
    for params in many:
        job = prepared(machine, model, params, MASKED if params.mask else None)
        job.model = there
        for painting in job.paintings:
            assert isinstance(painting, SlotPainting)
            moved(painting)
        jobs.append(job)
    there.measured.pace.smallest = 32
    noted = Copies()
    with torch.inference_mode():
        for _ in range(3):
            batch, kind = machine._gather()
            assert kind is not None and len(batch) == sum(len(job.images) for job in jobs)
            # Texts are encoded on the CPU here: what comes from there once is no part of a pass.
            launched = cast(list[tuple[Job, SlotPainting]], batch)
            hoisted(there, launched)
            # In strict mode in parts of two: a size is tried beside them, and that is waited for.
            count = sum(painting.rows for _, painting in launched)
            there.measured.certificates.note(kind, count, agrees=False)
            with noted, Lists(noted.waits):
                assert list(machine._launch(there, launched, kind)) == []
    return noted


def moved(painting: SlotPainting) -> None:
    pool, device = painting.pool, torch.device("meta")
    pool.pool = pool.pool.to(device)
    if painting.kept is not None:
        kept = painting.kept
        painting.kept = replace(
            kept,
            latents=kept.latents.to(device),
            noise=kept.noise.to(device),
            mask=kept.mask.to(device),
        )


def hoisted(model: Model, batch: Sequence[tuple[Job, SlotPainting]]) -> None:
    for job, painting in batch:
        for row in rows._rows_of(job, painting):
            rows._time_row(model, row)
            rows._context_row(model, row)


@pytest.mark.usefixtures("blind")
@pytest.mark.parametrize("deterministic", ["fast", "strict"])
def test_a_pass_waits_for_nothing(deterministic: Deterministic) -> None:
    machine = Machine(max_batch=32, deterministic=deterministic, tail="tables")
    model = replace(tiny_model())
    noted = waits_of(machine, model, MANY)
    assert noted.waits == []
    assert noted.sent


class Hinting(nn.Module):
    """Stand in for a ControlNet."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(unet=SimpleNamespace(in_channels=4))

    def forward(
        self, x: Tensor, hint: Tensor, timesteps: Tensor, *_: object, guess: bool
    ) -> list[Tensor]:
        # A host that reads times must not wait for them.
        assert timesteps.is_cpu and not guess
        return [x * 0.1 + hint.mean() * timesteps.to(x)[:, None, None, None] / 1000]


def with_hint(machine: Machine, model: Model, params: Params) -> Job:
    """Add a job that a ControlNet steers at its first two steps."""
    job = prepared(machine, model, params)
    control = Control(model="edges", image="0" * 64, scale=0.5, end=0.5)
    picture = torch.full((1, 3, 32, 32), 0.25)
    hint = Hint(control=control, network=cast(ControlNet, Hinting()), picture=picture)
    job.passes = (replace(job.passes[0], hints=(hint,)),)
    return job


def test_a_controlnet_steers_the_same_rows() -> None:
    found = []
    for tail in TAILS:
        machine = Machine(max_batch=8, tail=tail)
        job = with_hint(machine, toy_model(), replace(PARAMS, images=2))
        paint(machine)
        found.append([p.finished for p in job.paintings])
    plain = latents(toy_model(), [replace(PARAMS, images=2)], "tables")
    for own, other, without in zip(*found, plain, strict=True):
        assert own is not None and other is not None
        assert difference(own, other) <= TOLERANCE
        assert difference(own, without) > 1e-3


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> Notes:
    """Record as on CUDA, by a recorder that takes notes."""
    notes = Notes()
    monkeypatch.setattr(machine_module, "graphs_for", lambda _device: Graphs(notes))
    return notes


@pytest.mark.parametrize("deterministic", ["fast", "strict"])
def test_the_network_is_recorded_and_replayed(notes: Notes, deterministic: Deterministic) -> None:
    params = replace(PARAMS, steps=6)
    model = toy_model()
    machine = Machine(max_batch=8, deterministic=deterministic, tail="tables")
    job = prepared(machine, model, params)
    for _ in range(6):
        machine.tick()
        counts = len(notes.recorded), notes.replayed
        answered = job.paintings[0].answered
        assert counts == ((0, 0) if answered < 3 else (1, answered - 2))
    paint(machine)
    assert (notes.recorded, notes.replayed) == ([(2, 4, 4, 4)], 4)
    end = job.paintings[0].finished
    assert end is not None
    assert difference(end, latents(toy_model(), [params], "coroutines")[0]) <= TOLERANCE
    # Its inputs are copied in: later jobs, with other words, use it as it is.
    other = replace(params, prompt="a blue fish", seed=9)
    again = prepared(machine, model, other)
    paint(machine)
    assert (len(notes.recorded), notes.replayed) == (1, 10)
    end = again.paintings[0].finished
    assert end is not None
    assert difference(end, latents(toy_model(), [other], "coroutines")[0]) <= TOLERANCE


def test_seamless_borders_have_a_recording_of_their_own(notes: Notes) -> None:
    machine = Machine(max_batch=8, tail="tables")
    model = toy_model()
    for tile in (False, True):
        machine.add(model, replace(PARAMS, steps=4, tile=tile))
    paint(machine)
    assert notes.recorded == [(2, 4, 4, 4)] * 2


def test_what_stands_in_for_weights_or_adds_to_them_is_never_recorded(notes: Notes) -> None:
    machine = Machine(max_batch=8, tail="tables")
    model = toy_model()
    job = prepared(machine, model, replace(PARAMS, steps=6))
    patches = PatchSet(network=model.backbone, layers={})
    job.styles = Styles(backbone=((patches, 1.0),))
    with_hint(machine, model, replace(PARAMS, steps=4))
    paint(machine)
    # The last two steps of the second job are steered no more: too few to be recorded.
    assert notes.recorded == []


def test_recordings_go_with_their_network(notes: Notes) -> None:
    machine = Machine(max_batch=8, tail="tables")
    model = toy_model()
    machine.add(model, PARAMS)
    paint(machine)
    assert len(notes.recorded) == 1 == len(machine.graphs)
    machine._forget(model)
    machine._forget(model)
    machine.add(model, PARAMS)
    paint(machine)
    assert len(notes.recorded) == 2


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("sigma", [0.03, 1.0, 14.6])
def test_predictions_as_two_factors(prediction: str, sigma: float) -> None:
    x, output = torch.randn(2, 4, 4, 4, dtype=torch.float64)
    skip, out = scalings_of(prediction, sigma)
    torch.testing.assert_close(skip * x + out * output, to_denoised(prediction, x, output, sigma))
    with pytest.raises(ValueError, match="unknown prediction"):
        scalings_of("velocity", sigma)


def test_guidance_as_weights() -> None:
    machine = Machine(max_batch=8, tail="tables")
    params = replace(PARAMS, prompt="a heart::2 a fish::1 a cat::-0.5")
    for scale in (1.0, 7.5):
        job = prepared(machine, toy_model(), replace(params, guidance_scale=scale))
        painting = cast(SlotPainting, job.paintings[0])
        outputs = torch.randn(painting.rows, 4, 4, 4, dtype=torch.float64)
        factors = torch.tensor(weights_of(painting), dtype=torch.float64)[:, None, None, None]
        combined = painting.guide.combine(outputs)
        torch.testing.assert_close((outputs * factors).sum(dim=0), combined)
