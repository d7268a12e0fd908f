"""Opening a checkpoint: what it is, of which family, and where each tensor lies.

Promises: reads heads and JSON, never a weight beyond a handful of numbers; refuses what is damaged,
foreign or hostile before memory is taken. Recognition looks at names and shapes of tensors, never
at the name of the file. Never imports torch.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from diffusion.checkpoints.folder import FolderModel, folder_model, is_folder_model
from diffusion.checkpoints.header import Header, TensorInfo, read_header
from diffusion.checkpoints.kinds import embedding_family, kind_of, lora_family
from diffusion.checkpoints.parts import Checkpoint, Part
from diffusion.checkpoints.schedules import file_prediction, file_schedule
from diffusion.checkpoints.single import single_parts
from diffusion.errors import CheckpointError
from diffusion.networks.configs import DDPMConfig, UNetConfig

_PRECISIONS: Final = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3",
    "F8_E5M2": "float8_e5m2",
}
_NETWORKS: Final = ("model", "unet", "vae", "taesd", "controlnet")
_MAX_METADATA: Final = 100
_MAX_VALUE: Final = 2000


def open_checkpoint(path: Path, variant: str | None = None) -> Checkpoint:
    """Describe a .safetensors file or a folder of components.

    `variant` ("fp16") chooses among the files of a folder. Raises CheckpointError when the file or
    folder is missing, damaged, a pickle, or of no make that is known here.
    """
    if path.is_dir():
        if not is_folder_model(path):
            raise CheckpointError(
                f"{path} is no folder of a model: it has neither a model_index.json nor a "
                "config.json of a network that is known here."
            )
        return _from_folder(path, folder_model(path, variant))
    if not path.exists():
        raise CheckpointError(f"{path} is missing.")
    return _from_file(read_header(path))


def _from_file(header: Header) -> Checkpoint:
    kind = kind_of(header.tensors)
    if kind is None:
        shown = ", ".join(sorted(f"{key:.80}" for key in header.tensors)[:3]) or "none"
        raise CheckpointError(f"{header.path} is of no make that is known here (tensors: {shown}).")
    family: str | None = None
    parts: dict[str, Part] = {}
    if kind == "lora":
        family = lora_family(header.tensors)
    elif kind == "embedding":
        family = embedding_family(header.tensors)
    elif kind in _NETWORKS:
        family, parts = single_parts(header, kind)
    schedule: dict[str, object] = {}
    prediction = None
    unet = parts["unet"].config if "unet" in parts else None
    if isinstance(unet, UNetConfig | DDPMConfig) and family is not None:
        prediction = file_prediction(header, family, unet.in_channels)
        schedule = file_schedule(header, family, prediction)
    return Checkpoint(
        path=header.path,
        layout="single",
        kind=kind,
        family=family,
        precision=_precision(_main(parts, header.tensors)),
        bytes=header.size,
        files=(header.path,),
        parts=parts,
        schedule=schedule,
        prediction_type=prediction,
        force_zeros_for_empty_prompt=family == "sdxl",
        requires_aesthetics_score=family == "sdxl_refiner",
        metadata=_bounded(header.metadata),
    )


def _from_folder(path: Path, model: FolderModel) -> Checkpoint:
    sources = [source for part in model.parts.values() for source in part.sources.values()]
    files = sorted({piece.file for source in sources for piece in source.pieces})
    return Checkpoint(
        path=path,
        layout="folder",
        kind=model.kind,
        family=model.family,
        precision=_precision(_main(model.parts, {})),
        bytes=sum(file.stat().st_size for file in files),
        files=tuple(files),
        parts=model.parts,
        schedule=model.schedule,
        prediction_type=model.prediction_type,
        force_zeros_for_empty_prompt=model.force_zeros_for_empty_prompt,
        requires_aesthetics_score=model.requires_aesthetics_score,
        metadata={},
    )


def _main(parts: Mapping[str, Part], tensors: Mapping[str, TensorInfo]) -> Iterable[TensorInfo]:
    """Return the tensors whose precision is the checkpoint's: the U-Net's, if there is one."""
    part = parts.get("unet") or next(iter(parts.values()), None)
    if part is None:
        return tensors.values()
    return [piece.info for source in part.sources.values() for piece in source.pieces]


def _precision(infos: Iterable[TensorInfo]) -> str:
    counted: Counter[str] = Counter()
    for info in infos:
        counted[info.dtype] += info.end - info.start
    most = counted.most_common(1)
    return _PRECISIONS.get(most[0][0], most[0][0].lower()) if most else "unknown"


def _bounded(metadata: Mapping[str, str]) -> dict[str, str]:
    """Trainers write megabytes of statistics; the first of it is enough to know a file by."""
    few = sorted(metadata.items())[:_MAX_METADATA]
    return {key[:_MAX_VALUE]: value[:_MAX_VALUE] for key, value in few}
