"""Files that keep only the average of the weights (`model_ema.`), whose names lost their dots.

Promises: maps such a file exactly for the published sizes of each family, and refuses others: a
name without dots cannot be taken apart, so the known networks are tried instead. Never imports
torch.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from diffusion.checkpoints.header import TensorInfo
from diffusion.checkpoints.inventory import Entry
from diffusion.checkpoints.inventory_unet import unet_inventory
from diffusion.checkpoints.kinds import EMA_PREFIX
from diffusion.checkpoints.parts import Source
from diffusion.checkpoints.placing import Placing, Spelling, one_piece
from diffusion.errors import CheckpointError
from diffusion.networks.configs import UNetConfig

_SD2: Final = UNetConfig(
    context_dim=1024, heads=None, head_dim=64, linear_projection=True, upcast_attention=True
)
_SDXL: Final = UNetConfig(
    channel_mult=(1, 2, 4),
    transformer_depth=(0, 2, 10),
    middle_depth=10,
    heads=None,
    head_dim=64,
    context_dim=2048,
    linear_projection=True,
    added_dim=2816,
)
_CLASSES: Final = UNetConfig(
    in_channels=3,
    out_channels=3,
    model_channels=192,
    channel_mult=(1, 2, 3, 5),
    heads=1,
    context_dim=512,
    transformer_depth=(0, 1, 1, 1),
)
_FACES: Final = UNetConfig(
    in_channels=3,
    out_channels=3,
    model_channels=224,
    channel_mult=(1, 2, 3, 4),
    transformer_depth=(0, 1, 1, 1),
    heads=None,
    head_dim=32,
    context_dim=None,
    attention="plain",
)
_CHANNELS: Final = (4, 9, 8, 5)


def averaged_sizes(tensors: Mapping[str, TensorInfo], where: str) -> UNetConfig:
    """Return the sizes of the known U-Net whose every tensor stands among the averages."""
    for config in _known():
        entries = unet_inventory(config).entries
        if all(
            (info := tensors.get(_name(key))) is not None and info.shape == entry.shape
            for key, entry in entries.items()
        ):
            return config
    raise CheckpointError(
        f"{where} keeps only averaged weights (model_ema) of a U-Net of unknown sizes. "
        "Fetch the file that holds the weights themselves."
    )


def by_average(placing: Placing) -> Spelling:
    """Return the spelling of averages."""

    def spell(key: str, entry: Entry) -> Source | None:
        piece = placing.find(_name(key))
        return one_piece(piece, entry)

    return spell


def _name(key: str) -> str:
    return EMA_PREFIX + key.replace(".", "")


def _known() -> Iterator[UNetConfig]:
    for base in (UNetConfig(), UNetConfig(context_dim=1280), _SD2, _SDXL):
        for channels in _CHANNELS:
            yield replace(base, in_channels=channels)
    yield _CLASSES
    yield _FACES
