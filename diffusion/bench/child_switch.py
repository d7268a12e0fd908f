"""Loading, of one side: from files in the page cache to the first tick's answer.

Promises: what a side imports is imported before the clock starts; both do the same then: weights,
both prompts through the text encoder, one guided pass over two rows.
"""

import time
from pathlib import Path
from typing import Any, Final

import torch

from diffusion.bench.errors import BenchError
from diffusion.bench.peer import diffusers, import_everything, quiet
from diffusion.bench.peer_files import FOLDER, SINGLE
from diffusion.bench.solo import EASEL
from diffusion.bench.subjects import SHIPPED, job_params, pick_device
from diffusion.bench.timing import Peak, settle
from diffusion.errors import DiffusionError
from diffusion.loading import load_model
from diffusion.machine import Answer, Machine

_TIMESTEP: Final = 601.0


def cold(
    *, side: str, model: str, folder: str, layout: str, device: str, latent: int
) -> dict[str, float]:
    """Load once and run one tick; return its seconds, those of the load alone, and the peak bytes.

    peak: of host memory, mapped pages of files included; device_peak: of the device, where it is
    another. `layout`: "folder" or "single"; `latent`: the latents' side in positions.
    """
    chosen = pick_device(device)
    where, dtype = torch.device(chosen.device), chosen.dtype
    settle(where)
    if side == EASEL:
        source: str | Path = SHIPPED if model == SHIPPED else Path(folder) / SINGLE
        return _easel(source, where, dtype, latent)
    return _diffusers(Path(folder), layout, where, dtype, latent)


def _easel(source: str | Path, device: torch.device, dtype: str, latent: int) -> dict[str, float]:
    meters, began = _meters(device), time.perf_counter()
    model = load_model(source, device=str(device), dtype=dtype)
    settle(device)
    loaded = time.perf_counter()
    pixels = latent * model.vae.config.downscale
    params = job_params(model, steps=2, images=1, width=pixels, height=pixels)
    machine = Machine(max_batch=2)
    machine.add(model, params)
    answers: list[Answer] = []
    # The first step is told by the tick that ran the first pass.
    while not answers:
        answers = machine.tick()
    for _, answer in answers:
        if isinstance(answer, DiffusionError):
            raise BenchError(str(answer)) from answer
    settle(device)
    return _found(began, loaded, meters)


def _diffusers(
    folder: Path, layout: str, device: torch.device, dtype: str, latent: int
) -> dict[str, float]:
    import_everything()
    kind: Any = diffusers().StableDiffusionPipeline
    precision = getattr(torch, dtype)
    meters, began = _meters(device), time.perf_counter()
    with quiet():
        pipe = _pipeline(kind, folder, layout, precision)
    pipe.to(device)
    settle(device)
    loaded = time.perf_counter()
    first_pass(pipe.unet, pipe.text_encoder, device, precision, latent)
    settle(device)
    return _found(began, loaded, meters)


def _pipeline(kind: Any, folder: Path, layout: str, dtype: torch.dtype) -> Any:  # noqa: ANN401
    """Load in the peer's fastest documented way: offline, the single file's sizes from a folder."""
    root = folder / FOLDER
    if layout == "single":
        return kind.from_single_file(
            str(folder / SINGLE), config=str(root), torch_dtype=dtype, local_files_only=True
        )
    # The shipped model's tokenizer is none that this pipeline has; it goes without.
    none = {} if (root / "tokenizer").is_dir() else {"tokenizer": None}
    return kind.from_pretrained(root, torch_dtype=dtype, local_files_only=True, **none)


@torch.inference_mode()
def first_pass(
    unet: Any,  # noqa: ANN401 - a foreign class
    text: Any,  # noqa: ANN401 - either side's
    device: torch.device,
    dtype: torch.dtype,
    latent: int,
) -> torch.Tensor:
    """Encode two prompts' tokens and ask the network once for two rows; return its answer."""
    window = text.config.max_position_embeddings
    ids = torch.ones(2, window, dtype=torch.long, device=device)
    context = text(input_ids=ids).last_hidden_state
    x = torch.zeros(2, unet.config.in_channels, latent, latent, device=device, dtype=dtype)
    answer: torch.Tensor = unet(x, _TIMESTEP, context, return_dict=False)[0]
    return answer.float().cpu()


def _meters(device: torch.device) -> dict[str, Peak]:
    """Watch host memory, and the device's where that is another."""
    host = {"peak": Peak(torch.device("cpu"))}
    return host if device.type == "cpu" else host | {"device_peak": Peak(device)}


def _found(began: float, loaded: float, meters: dict[str, Peak]) -> dict[str, float]:
    times = {"seconds": time.perf_counter() - began, "load": loaded - began}
    return times | {name: float(meter.bytes) for name, meter in meters.items()}
