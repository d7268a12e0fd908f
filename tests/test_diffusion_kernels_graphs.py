"""CUDA graphs without CUDA: when to record, what is copied, what is dropped, what is a fallback."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from diffusion.kernels import graphs
from diffusion.kernels.graphs import Graphs, Pass, Recording, graphs_for


class Notes:
    """A recorder that runs the pass at every replay, in place, as a graph would."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.bytes = 0
        self.recorded: list[tuple[int, ...]] = []
        self.replayed = 0
        self.statics: list[tuple[Tensor, ...]] = []

    def record(self, function: Pass, inputs: Sequence[Tensor]) -> Recording:
        self.recorded.append(tuple(inputs[0].shape))
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.statics.append(tuple(inputs))
        self.bytes += 1000
        output = torch.empty_like(function(*inputs))

        def replay() -> None:
            self.replayed += 1
            # A graph writes where it was told to, whatever mode PyTorch is in.
            with torch.inference_mode():
                output.copy_(function(*inputs))

        return Recording(output=output, replay=replay)


class Double:
    """A pass that counts its runs."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.runs += 1
        return x * 2


@pytest.fixture(autouse=True)
def _no_gradients() -> object:
    with torch.inference_mode():
        yield


def test_a_shape_is_recorded_the_third_time_and_then_replayed() -> None:
    notes, double = Notes(), Double()
    live = Graphs(notes)
    assert live.bytes == 0
    for step in range(6):
        found = live.run("unet", double, torch.full((2, 3), float(step)))
        torch.testing.assert_close(found, torch.full((2, 3), 2.0 * step), rtol=0, atol=0)
        assert (len(notes.recorded), notes.replayed) == ((0, 0) if step < 2 else (1, step - 1))
    assert live.bytes == 1000


def test_inputs_are_copied_in_and_results_out() -> None:
    notes = Notes()
    live = Graphs(notes)
    given = [torch.full((3,), float(i)) for i in range(5)]
    found = [live.run("unet", Double(), x) for x in given]
    (static,) = notes.statics[0]
    assert all(static.data_ptr() != x.data_ptr() for x in given)
    assert static.tolist() == [4.0] * 3
    # A result stays what it was after later replays, and changing it changes no recording.
    assert [x[0].item() for x in found] == [0.0, 2.0, 4.0, 6.0, 8.0]
    found[-1].zero_()
    assert live.run("unet", Double(), given[1]).tolist() == [2.0] * 3


def test_static_copies_keep_the_layout() -> None:
    notes = Notes()
    live = Graphs(notes)
    for _ in range(3):
        live.run(0, Double(), torch.ones(2, 4, 3, 3).contiguous(memory_format=torch.channels_last))
    assert notes.statics[0][0].is_contiguous(memory_format=torch.channels_last)


def test_a_recording_serves_with_and_without_inference_mode() -> None:
    notes = Notes()
    live = Graphs(notes)
    for mode in (True, True, True, False, True):
        with torch.inference_mode(mode), torch.no_grad():
            assert live.run("unet", Double(), torch.ones(2)).tolist() == [2.0, 2.0]
    assert notes.replayed == 3


def test_key_shape_and_precision_each_have_their_own_recording() -> None:
    notes = Notes()
    live = Graphs(notes)
    kinds = [
        ("a", torch.ones(2)),
        ("b", torch.ones(2)),
        ("a", torch.ones(3)),
        ("a", torch.ones(2).half()),
    ]
    for _ in range(3):
        for key, x in kinds:
            live.run(key, Double(), x)
    assert len(notes.recorded) == live.live == 4


def test_never_under_gradients_nor_without_a_key_nor_without_a_recorder() -> None:
    notes, double = Notes(), Double()
    live = Graphs(notes)
    with torch.inference_mode(False), torch.enable_grad():
        for _ in range(4):
            live.run("unet", double, torch.ones(2))
    for _ in range(4):
        live.run(None, double, torch.ones(2))
        Graphs(None).run("unet", double, torch.ones(2))
    assert notes.recorded == []
    assert double.runs == 12
    # The runs under gradients did not count either.
    for _ in range(2):
        live.run("unet", double, torch.ones(2))
    assert notes.recorded == []


def test_a_recording_that_fails_is_not_tried_again() -> None:
    notes, double = Notes(fails=True), Double()
    live = Graphs(notes)
    for step in range(6):
        assert live.run("unet", double, torch.ones(2)).tolist() == [2.0, 2.0]
        assert len(notes.recorded) == (0 if step < 2 else 1)
    assert double.runs == 6
    assert live.live == 0
    assert live.failures == ("operation not permitted when stream is capturing",)
    live.forget("unet")
    for _ in range(3):
        live.run("unet", double, torch.ones(2))
    assert len(notes.recorded) == 2


def test_errors_of_the_pass_itself_are_passed_on() -> None:
    def broken(x: Tensor) -> Tensor:
        raise ValueError(f"no {len(x)}")

    with pytest.raises(ValueError, match="no 2"):
        Graphs(Notes()).run("unet", broken, torch.ones(2))


def test_the_one_used_longest_ago_is_dropped() -> None:
    notes = Notes()
    live = Graphs(notes, live=2)

    def use(size: int, times: int) -> None:
        for _ in range(times):
            live.run("unet", Double(), torch.ones(size))

    use(1, 3)
    use(2, 3)
    use(1, 1)
    use(3, 3)
    assert live.live == 2
    assert notes.recorded == [(1,), (2,), (3,)]
    use(1, 1)
    use(3, 1)
    assert notes.recorded == [(1,), (2,), (3,)]
    # 2 was dropped, and earns its place again.
    use(2, 2)
    assert len(notes.recorded) == 3
    use(2, 1)
    assert notes.recorded[3:] == [(2,)]


def test_the_default_is_48_and_none_is_refused() -> None:
    notes = Notes()
    live = Graphs(notes)
    for size in range(50):
        for _ in range(3):
            live.run("unet", Double(), torch.ones(size + 1))
    assert live.live == 48
    with pytest.raises(ValueError, match="not 0"):
        Graphs(notes, live=0)


def test_counts_do_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "_COUNTED", 4)
    live = Graphs(Notes())
    for size in range(10):
        live.run("unet", Double(), torch.ones(size))
    assert len(live._runs) == 4


def test_what_is_forgotten_is_recorded_anew() -> None:
    notes = Notes()
    live = Graphs(notes)
    for key in ("a", "b"):
        for _ in range(3):
            live.run(key, Double(), torch.ones(2))
    live.forget("a")
    assert live.live == 1
    live.run("b", Double(), torch.ones(2))
    assert len(notes.recorded) == 2
    for _ in range(3):
        live.run("a", Double(), torch.ones(2))
    assert len(notes.recorded) == 3
    live.forget()
    assert live.live == 0


def test_a_cpu_has_nothing_to_record_with(monkeypatch: pytest.MonkeyPatch) -> None:
    double = Double()
    live = graphs_for("cpu")
    for _ in range(4):
        live.run("unet", double, torch.ones(2))
    assert (double.runs, live.live) == (4, 0)
    monkeypatch.setattr(graphs, "CudaRecorder", Notes)
    assert isinstance(graphs_for("cuda")._recorder, Notes)


def test_the_recorder_of_cuda_asks_for_its_pool_and_its_own_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Against PyTorch's real signature; the capture itself needs a GPU."""
    signature = inspect.signature(torch.cuda.graph.__init__)
    entered: list[object] = []

    @contextmanager
    def graph(*values: object, **named: object) -> Iterator[None]:
        bound = signature.bind(None, *values, **named).arguments
        assert bound["pool"] == (7, 0)
        assert bound["capture_error_mode"] == "thread_local"
        entered.append(bound["cuda_graph"])
        yield

    replays: list[str] = []
    cuda_graph = SimpleNamespace(replay=lambda: replays.append("replay"))
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (7, 0))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: cuda_graph)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    recording = graphs.CudaRecorder().record(Double(), [torch.ones(2)])
    recording.replay()
    assert entered == [cuda_graph]
    assert recording.output.tolist() == [2.0, 2.0]
    assert replays == ["replay"]
