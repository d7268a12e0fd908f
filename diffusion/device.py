"""Where and how precisely to compute, from what this machine really has."""

from dataclasses import dataclass

import torch

from diffusion.errors import DiffusionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A choice: torch's names for the device and the precision, and words for people."""

    device: str
    dtype: str
    description: str


def choose_device(device: str = "auto", dtype: str = "auto") -> Device:
    """Settle "auto": a CUDA GPU where there is one, half precision there and float32 on a CPU.

    Half precision on a CPU without native support is 60 to 270 times slower, so it is never chosen.
    Raises DiffusionError when "cuda" is asked for and not there.
    """
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise DiffusionError(
            'the device "cuda" is not there: this PyTorch sees no GPU; use "auto" or "cpu"'
        )
    chosen = device if device != "auto" else ("cuda" if has_cuda else "cpu")
    if dtype == "auto":
        dtype = "float16" if chosen == "cuda" else "float32"
    if chosen == "cuda":
        described = f"{torch.cuda.get_device_name()}, {dtype}"
    else:
        described = f"CPU, {torch.get_num_threads()} threads, {dtype}"
    return Device(device=chosen, dtype=dtype, description=described)


def choose_devices(device: str = "auto", dtype: str = "auto") -> tuple[Device, ...]:
    """Settle "auto" as `choose_device` does, and return every GPU of the machine, or the CPU."""
    first = choose_device(device, dtype)
    if first.device != "cuda":
        return (first,)
    return tuple(
        Device(
            device=f"cuda:{number}",
            dtype=first.dtype,
            description=f"{torch.cuda.get_device_name(number)}, {first.dtype}",
        )
        for number in range(torch.cuda.device_count())
    )
