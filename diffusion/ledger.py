"""What fits on a device: a ledger of bytes that is asked before work begins.

Entries are what stays (weights, keys and values, add-ons, recordings, pictures under way) and what
passes need while they run (activations of a number of rows, a tile being decoded). Promises: a job
that can never fit is refused before any work, with its size and what to do; a batch is never larger
than the room for it; the tiles of a picture depend on its size, its model and the budget, never on
the company. Before the first pass its bytes are estimated (`diffusion.footprints`); on CUDA the
measured peak replaces that. Never moves a tensor: `diffusion.residency` does.

On a CPU weights are no entry: they are mapped files, which count as available and are dropped and
read again as the kernel likes, or were cast before the budget was measured.
"""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from diffusion.available import available
from diffusion.errors import OutOfMemoryError
from diffusion.exact import BASE
from diffusion.footprints import Footprint, decode_bytes, encode_bytes, pass_bytes
from diffusion.networks.configs import UNetConfig
from diffusion.networks.pixels import PixelSpace
from diffusion.preparing import larger
from diffusion.starts import TILE, WHOLE

if TYPE_CHECKING:
    from diffusion.model import Model
    from diffusion.params import Params
    from diffusion.rows import Kind

# The smallest tile that decoding falls back to, in latent positions a side.
LEAST_TILE: Final = 16
# What the check before a job's work reckons with: a text of one window.
_TOKENS: Final = 77
# Canvases of a tiled decode at once, in numbers a pixel: the sum, its weights, their quotient, and
# that in the network's precision.
_CANVAS: Final = 3 + 1 + 3 + 3


class Ledger:
    """The bytes of one device. `budget` is all that may be used on it; None measures it now.

    For the device's thread alone.
    """

    def __init__(self, device: torch.device, *, budget: int | None = None) -> None:
        self.device = device
        self.budget = available(device) if budget is None else budget
        self._held: dict[Hashable, int] = {}
        self._measured: dict[Footprint, dict[int, int]] = {}

    def hold(self, entry: Hashable, nbytes: int) -> None:
        """Write down what stays on the device; 0 bytes strike the entry out."""
        self._held[entry] = nbytes
        if not nbytes:
            del self._held[entry]

    @property
    def held(self) -> int:
        """Return the bytes of all entries."""
        return sum(self._held.values())

    @property
    def free(self) -> int:
        """Return the bytes that are left for passes and further entries; may be less than 0."""
        return self.budget - self.held

    def weights(self, model: "Model") -> int:
        """Return the bytes that a model's weights take on this device when they are there."""
        return 0 if self.device.type == "cpu" else weight_bytes(model)

    def pass_need(self, model: "Model", kind: "Kind", rows: int) -> int:
        """Return the bytes of a pass: as measured, else as estimated."""
        footprint = _footprint(model, kind)
        known = self._measured.get(footprint, {})
        if not known:
            return pass_bytes(footprint).of(rows)
        above = [size for size in known if size >= rows]
        if above:
            return known[min(above)]
        most = max(known)
        return known[most] * rows // most

    def rows_that_fit(self, model: "Model", kind: "Kind", most: int) -> int:
        """Return how many rows of a kind fit beside what is held, at most `most`; 0: none do."""
        free = self.free
        fitting = (rows for rows in range(most, 0, -1) if self.pass_need(model, kind, rows) <= free)
        return next(fitting, 0)

    def decode_need(self, model: "Model", height: int, width: int, tile: int) -> int:
        """Return the bytes of decoding height x width latents, `tile` positions a side at once."""
        if isinstance(model.vae, PixelSpace):
            return 0
        whole = max(height, width) <= min(WHOLE, tile)
        side = max(height, width) if whole else min(TILE, tile)
        config = model.vae.config
        need = decode_bytes(config, min(height, side), min(width, side), model.vae_dtype)
        canvas = 0 if whole else 4 * _CANVAS * height * width * config.downscale**2
        return need + canvas

    def decode_tile_that_fits(self, model: "Model", height: int, width: int, most: int) -> int:
        """Return the largest tile, at most `most`, that height x width latents can be decoded in.

        It depends on the budget and the model's own weights, not on what else is there: who decodes
        makes room (`Residency.acquire`), so that the same picture has the same tiles in any
        company. By the estimate for the same reason.
        """
        room, tile = self.budget - self.weights(model), most
        while tile > LEAST_TILE and self.decode_need(model, height, width, tile) > room:
            tile = smaller_tile(tile)
        return tile

    def least_need(self, model: "Model", params: "Params") -> int:
        """Return the bytes of the largest step of a job done in the smallest pieces there are."""
        _, height, width = model.latent_shape(params.width, params.height)
        config = model.backbone.config
        reads = isinstance(config, UNetConfig) and config.context_dim
        footprint = Footprint(
            config=config,
            height=height,
            width=width,
            context=_TOKENS if reads else 0,
            dtype=model.dtype,
            controls=len(params.controls),
            seamless=params.tile,
        )
        need = pass_bytes(footprint).of(BASE)
        need = max(need, self.decode_need(model, height, width, LEAST_TILE))
        if params.init_image is not None and not isinstance(model.vae, PixelSpace):
            side = TILE if max(height, width) > WHOLE else WHOLE
            sides = min(height, side), min(width, side)
            need = max(need, encode_bytes(model.vae.config, *sides, model.vae_dtype))
        return need

    def check(self, params: "Params", model: "Model") -> None:
        """Refuse a job that can never fit, before work starts: OutOfMemoryError."""
        weights = self.weights(model)
        room = self.budget - weights
        if room <= 0:
            raise OutOfMemoryError(
                f"the weights of {params.model!r} take {size_text(weights)}, and the device has "
                f"{size_text(self.budget)}; choose a smaller model."
            )
        largest = larger(model, params) if params.hires > 1 else params
        need = self.least_need(model, largest)
        if need > room:
            raise OutOfMemoryError(
                f"one picture of {largest.width}x{largest.height} needs about {size_text(need)} "
                f"beside the model, and the device has {size_text(room)} for it; "
                "choose a smaller size."
            )

    @contextmanager
    def measuring(self, model: "Model", kind: "Kind", rows: int) -> Iterator[None]:
        """Note the peak of the pass inside the block, where the device tells it (CUDA)."""
        if self.device.type != "cuda":
            yield
            return
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        yield
        peak = torch.cuda.max_memory_allocated(self.device) - before
        self.note(model, kind, rows, peak)

    def note(self, model: "Model", kind: "Kind", rows: int, peak: int) -> None:
        """Remember the measured peak of a pass, in bytes; the highest of a size counts: passes that
        replay a graph allocate nothing.
        """
        known = self._measured.setdefault(_footprint(model, kind), {})
        known[rows] = max(peak, known.get(rows, 0))


def networks_of(model: "Model") -> tuple[nn.Module, ...]:
    """Return the networks whose weights are on a model's device: backbone, first stage, texts."""
    text = model.text
    texts = [] if text is None else [encoder.model for encoder in text.encoders]
    # The stacks without a CLIP transformer have one network, under one of these names.
    others = [getattr(text, name, None) for name in ("model", "embedding")]
    found = [model.backbone, model.vae, *texts, *others]
    networks = [network for network in found if isinstance(network, nn.Module)]
    return tuple(dict.fromkeys(networks))


def weight_bytes(model: "Model") -> int:
    """Return the bytes of a model's weights and buffers, each counted once."""
    tensors = {
        id(tensor): tensor.nbytes
        for network in networks_of(model)
        for tensor in (*network.parameters(), *network.buffers())
    }
    return sum(tensors.values())


def smaller_tile(tile: int) -> int:
    """Return the next smaller tile to decode in, in latent positions a side."""
    return min(tile, 2 * TILE) // 2


def size_text(nbytes: int) -> str:
    """Write bytes for people: 340 MiB, 7.9 GiB."""
    return f"{nbytes / 2**30:.1f} GiB" if nbytes >= 2**30 else f"{max(0, nbytes) >> 20} MiB"


def _footprint(model: "Model", kind: "Kind") -> Footprint:
    return Footprint(
        config=model.backbone.config,
        height=kind.shape[-2],
        width=kind.shape[-1],
        context=kind.context,
        dtype=model.dtype,
        controls=len(kind.controls),
        seamless=kind.tile,
    )
