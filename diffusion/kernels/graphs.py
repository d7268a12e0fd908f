"""CUDA graphs: a forward pass recorded once for its shapes and replayed by one launch.

A pass is run as it is twice, so that lazy work is done and libraries have chosen; the third time it
is recorded from static copies of its inputs, and from then on inputs are copied in and the
recording replayed. Promises: the eager pass is the fallback of everything, no recording under
gradients, at most 48 recordings alive, those used longest ago dropped first. For one thread.

A recording remembers addresses. Weights that move, or that stand in for others during one pass
only, must not be recorded: pass None for the key, or call `forget`.

## What ran where
When to record, copy, replay, drop and fall back is tested on a CPU with a recorder that only takes
notes; `CudaRecorder` itself needs a GPU, and has not met one.

## Why results are copied out
All recordings share one pool of memory, and a replay may write where another's result lies.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import torch
from torch import Tensor

Pass: TypeAlias = Callable[..., Tensor]

_EAGER_RUNS: Final = 2
_LIVE: Final = 48
# How many shapes are counted, or known to have failed, beside those that are recorded.
_COUNTED: Final = 1024


@dataclass(frozen=True, slots=True)
class Recording:
    """What a recorder returns: where the result will be, and how to fill it again."""

    output: Tensor
    replay: Callable[[], None]


class Recorder(Protocol):
    """Records a pass over inputs whose memory stays where it is. bytes: what all its recordings
    keep from everybody else.
    """

    bytes: int

    def record(self, function: Pass, inputs: Sequence[Tensor]) -> Recording:
        """Record without running. Raises RuntimeError when the pass cannot be recorded."""


class CudaRecorder:
    """Record CUDA graphs that share one pool of memory."""

    def __init__(self) -> None:
        self.bytes = 0
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, function: Pass, inputs: Sequence[Tensor]) -> Recording:
        """Capture on a stream of its own. Raises RuntimeError, also for want of memory."""
        graph, before = torch.cuda.CUDAGraph(), torch.cuda.memory_reserved()
        # Other threads may go on allocating: only this one must keep to what a graph can hold.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            output = function(*inputs)
        # The pool of the recordings only grows; what one of them leaves, the next one takes.
        self.bytes += max(0, torch.cuda.memory_reserved() - before)
        return Recording(output=output, replay=graph.replay)


@dataclass(frozen=True, slots=True)
class _Live:
    inputs: tuple[Tensor, ...]
    recording: Recording


class Graphs:
    """Run passes, recorded where that pays. Without a recorder, everything is run as it is."""

    def __init__(self, recorder: Recorder | None, *, live: int = _LIVE) -> None:
        if live < 1:
            raise ValueError(f"at least one recording must be allowed, not {live}")
        self._recorder = recorder
        self._limit = live
        self._live: OrderedDict[Hashable, _Live] = OrderedDict()
        # How often a shape ran as it is; None once recording it has failed.
        self._runs: OrderedDict[Hashable, int | None] = OrderedDict()
        self.failures: tuple[str, ...] = ()

    @property
    def live(self) -> int:
        """How many recordings there are."""
        return len(self._live)

    @property
    def bytes(self) -> int:
        """What recordings take on the device."""
        return 0 if self._recorder is None else self._recorder.bytes

    def run(self, key: Hashable | None, function: Pass, *inputs: Tensor) -> Tensor:
        """Return function(*inputs), by a replay if this key and these shapes have been recorded.

        `key` names all that the function reads besides its inputs: model, styles, borders. None
        means that this pass must not be recorded. Inputs are of any shape and on one device. The
        result belongs to the caller. Passes on what the function raises.
        """
        if self._recorder is None or key is None or torch.is_grad_enabled():
            return function(*inputs)
        shaped = (key, tuple((x.shape, x.dtype, x.device) for x in inputs))
        if shaped not in self._live and not self._record(self._recorder, shaped, function, inputs):
            return function(*inputs)
        live = self._live[shaped]
        self._live.move_to_end(shaped)
        for static, given in zip(live.inputs, inputs, strict=True):
            static.copy_(given)
        live.recording.replay()
        return live.recording.output.clone()

    def forget(self, key: Hashable | None = None) -> None:
        """Drop the recordings and counts of a key, or with None of all: their addresses are old."""
        for table in (self._live, self._runs):
            for shaped in [s for s in table if key is None or _named(s, key)]:
                del table[shaped]

    def _record(
        self, recorder: Recorder, shaped: Hashable, function: Pass, inputs: Sequence[Tensor]
    ) -> bool:
        """Record if it is time to; tell whether there is a recording now."""
        runs = self._runs.get(shaped, 0)
        if runs is None or runs < _EAGER_RUNS:
            self._count(shaped, None if runs is None else runs + 1)
            return False
        while len(self._live) >= self._limit:
            # Dropped first: its memory goes back to the pool that the next one is made from.
            self._live.popitem(last=False)
        # Ordinary tensors, which may be written to both with inference mode and without.
        with torch.inference_mode(False), torch.no_grad():
            static = tuple(x.clone() for x in inputs)
        try:
            recording = recorder.record(function, static)
        except RuntimeError as error:
            self._count(shaped, None)
            self.failures = (*self.failures[-9:], str(error))
            return False
        del self._runs[shaped]
        self._live[shaped] = _Live(inputs=static, recording=recording)
        return True

    def _count(self, shaped: Hashable, runs: int | None) -> None:
        self._runs[shaped] = runs
        self._runs.move_to_end(shaped)
        if len(self._runs) > _COUNTED:
            self._runs.popitem(last=False)


def graphs_for(device: torch.device | str) -> Graphs:
    """Return graphs that record on a CUDA device, and that run everything as it is elsewhere."""
    return Graphs(CudaRecorder() if torch.device(device).type == "cuda" else None)


def _named(shaped: Hashable, key: Hashable) -> bool:
    return isinstance(shaped, tuple) and shaped[0] == key
