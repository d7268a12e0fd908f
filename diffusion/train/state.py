"""Resumable training state: what a run must keep so that one command goes on where it was stopped.

Promises: a checkpoint is either the old one or the new one, never half of each (written beside,
synced, renamed), and holds tensors and numbers only (safetensors and JSON, no pickle).
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from diffusion.train.precision import Precision


def write_atomically(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file so that a crash leaves the previous one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    save_file({name: t.contiguous() for name, t in tensors.items()}, beside, metadata)
    # safetensors makes files that only their owner may read; a model is for everybody.
    beside.chmod(0o644)
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    beside.replace(path)


@dataclass(kw_only=True)
class Average:
    """Exponential moving average of parameters with a warm-up, min(decay, (1 + n) / (10 + n))."""

    decay: float
    updates: int = 0
    shadow: dict[str, Tensor] = field(default_factory=dict)

    def begin(self, parameters: Mapping[str, Tensor]) -> None:
        """Start from these values, or put what was restored on their devices."""
        if not self.shadow:
            self.shadow = {name: p.detach().clone() for name, p in parameters.items()}
        self.shadow = {name: t.to(parameters[name].device) for name, t in self.shadow.items()}

    @torch.no_grad()
    def update(self, parameters: Mapping[str, Tensor]) -> None:
        """Move every shadow towards its parameter."""
        self.updates += 1
        weight = 1.0 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, parameter in parameters.items():
            self.shadow[name].lerp_(parameter.detach(), weight)


@dataclass(kw_only=True)
class Progress:
    """How far a run has come; all of it is written into the checkpoint.

    precision: what the first steps were computed in, None before them; the later ones keep to it.
    """

    steps: int = 0
    samples: int = 0
    seconds: float = 0.0
    precision: Precision | None = None
    log: list[dict[str, float]] = field(default_factory=list)


def never() -> bool:
    """Whether to stop, where nobody can ask for it."""
    return False


def save_state(
    path: Path,
    *,
    networks: Mapping[str, nn.Module],
    optimiser: torch.optim.AdamW,
    average: Average,
    progress: Progress,
) -> None:
    """Write weights, averages, Adam's moments and progress to one file."""
    tensors: dict[str, Tensor] = {}
    names: list[str] = []
    for prefix, network in networks.items():
        for name, value in network.state_dict().items():
            tensors[f"weights.{prefix}.{name}"] = value
        names += [f"{prefix}.{name}" for name, _ in network.named_parameters()]
    tensors |= {f"average.{name}": value for name, value in average.shadow.items()}
    for name, parameter in zip(names, _parameters(networks), strict=True):
        moments = optimiser.state.get(parameter, {})
        for key in ("exp_avg", "exp_avg_sq"):
            if key in moments:
                tensors[f"adam.{key}.{name}"] = moments[key]
    metadata = {
        "progress": json.dumps(
            {
                "steps": progress.steps,
                "samples": progress.samples,
                "seconds": progress.seconds,
                "precision": progress.precision,
                "log": progress.log,
                "average_updates": average.updates,
            }
        )
    }
    write_atomically(path, tensors, metadata)


def load_state(
    path: Path,
    *,
    networks: Mapping[str, nn.Module],
    optimiser: torch.optim.AdamW,
    average: Average,
    progress: Progress,
) -> bool:
    """Restore what `save_state` wrote; return False when there is nothing to restore."""
    if not path.exists():
        return False
    with safe_open(path, framework="pt") as file:
        told = json.loads(file.metadata()["progress"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for prefix, network in networks.items():
        network.load_state_dict(_below(tensors, f"weights.{prefix}."))
    average.shadow = _below(tensors, "average.")
    average.updates = told.pop("average_updates")
    first, second = _below(tensors, "adam.exp_avg."), _below(tensors, "adam.exp_avg_sq.")
    names = [f"{prefix}.{n}" for prefix, net in networks.items() for n, _ in net.named_parameters()]
    fused = bool(optimiser.defaults.get("fused"))
    for name, parameter in zip(names, _parameters(networks), strict=True):
        if name in first:
            optimiser.state[parameter] = {
                # A fused step counts where the parameter is, the others count on the CPU.
                "step": torch.tensor(
                    float(told["steps"]), device=parameter.device if fused else "cpu"
                ),
                "exp_avg": first[name].to(parameter),
                "exp_avg_sq": second[name].to(parameter),
            }
    progress.steps, progress.samples = told["steps"], told["samples"]
    progress.seconds, progress.log = told["seconds"], told["log"]
    progress.precision = told.get("precision")
    return True


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _parameters(networks: Mapping[str, nn.Module]) -> Iterator[nn.Parameter]:
    for network in networks.values():
        yield from network.parameters()


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A stop by the run's own clock, so that a command ends inside its limit."""

    minutes: float
    started: float = field(default_factory=time.monotonic)

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    @property
    def over(self) -> bool:
        """Whether the time is used up."""
        return self.spent >= 60.0 * self.minutes
