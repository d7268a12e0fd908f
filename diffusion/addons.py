"""What an admin lays beside a model: LoRAs, ControlNets and embeddings, by name.

Promises: a name is looked up in a table of files that was enumerated before, so no text of a user
ever becomes a path; a file is read when it is first asked for, inside of the block of whoever
vouches for it, and what fits is kept.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar, cast

import torch

from diffusion.adapters import Matched, PatchSet, load_lora, match, patched
from diffusion.addon_files import enumerate_files
from diffusion.checkpoints import open_checkpoint
from diffusion.checkpoints.load import load_part
from diffusion.errors import CheckpointError, OutOfMemoryError, ParamsError
from diffusion.kernels.layout import arrange
from diffusion.names import nearest
from diffusion.networks.configs import ControlNetConfig
from diffusion.networks.controlnet import ControlNet
from diffusion.networks.unet import UNet
from diffusion.params import Params
from diffusion.prompts import LoraTag, parse_prompt
from diffusion.vouching import Vouch, anybody

if TYPE_CHECKING:
    from diffusion.model import Model
    from diffusion.text.inversions import Inversions

# Files kept in memory for each model; the least recently used goes first.
_KEPT_LORAS: Final = 32
_KEPT_CONTROLS: Final = 4
_Read = TypeVar("_Read")


def _file_bytes(path: Path) -> int:
    """Return a file's size, 0 once it is gone."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


@dataclass(slots=True, eq=False)
class Addons:
    """The add-ons of one model: tables of files, and those that have been read. bytes: what these
    take in memory, LoRAs as much as their files.
    """

    loras: Mapping[str, Path] = field(default_factory=dict)
    controls: Mapping[str, Path] = field(default_factory=dict)
    vouch: Vouch = anybody
    bytes: int = field(default=0, init=False)
    _read_loras: OrderedDict[str, Matched] = field(default_factory=OrderedDict)
    _read_controls: OrderedDict[str, ControlNet] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def lora(self, name: str, model: "Model") -> Matched:
        """Return a LoRA, matched to a model's networks.

        Raises ParamsError for an unknown name, CheckpointError for a file that does not fit.
        """

        def read() -> Matched:
            path = _find(self.loras, name, field="prompt", kind="LoRA")
            if not isinstance(model.backbone, UNet):
                raise ParamsError("prompt", name, f"{model.info.name} takes no LoRA")
            encoders = () if model.text is None else model.text.encoders
            with self.vouch("lora", path):
                found = load_lora(path)
            return match(found, model.backbone, [each.model for each in encoders])

        return self._kept(self._read_loras, name, read, most=_KEPT_LORAS)

    def control(self, name: str, model: "Model") -> ControlNet:
        """Return a ControlNet; errors as for `lora`."""

        def read() -> ControlNet:
            path = _find(self.controls, name, field="controls", kind="ControlNet")
            with self.vouch("controlnet", path):
                return load_controlnet(path, model)

        return self._kept(self._read_controls, name, read, most=_KEPT_CONTROLS)

    def look_again(self, loras: Mapping[str, Path], changed: Collection[str]) -> None:
        """Take in a folder as it is now; what changed or is gone is read anew when it is named.

        Jobs on their way keep what they have.
        """
        with self._lock:
            self.loras = loras
            for name in [each for each in self._read_loras if each not in loras or each in changed]:
                del self._read_loras[name]

    def has(self, loras: Sequence[str], controls: Sequence[str]) -> bool:
        """Whether all of these have been read."""
        with self._lock:
            return all(name in self._read_loras for name in loras) and all(
                name in self._read_controls for name in controls
            )

    def _kept(
        self, table: OrderedDict[str, _Read], name: str, read: Callable[[], _Read], *, most: int
    ) -> _Read:
        """Return what was read under a name, reading it where it is not there."""
        with self._lock:
            if name in table:
                table.move_to_end(name)
                return table[name]
        # Not under the lock: another's file may be long, and this one is at hand for somebody.
        found = read()
        with self._lock:
            # Whoever was first: patches are told apart by their objects.
            found = table.setdefault(name, found)
            table.move_to_end(name)
            if len(table) > most:
                table.popitem(last=False)
            weights = [p for net in self._read_controls.values() for p in net.parameters()]
            files = [self.loras[name] for name in self._read_loras if name in self.loras]
            self.bytes = sum(p.nbytes for p in weights) + sum(map(_file_bytes, files))
            return found


def load_controlnet(path: Path, model: "Model") -> ControlNet:
    """Load a ControlNet for a model; CheckpointError when it belongs to another family."""
    found = open_checkpoint(path)
    found.require("controlnet")
    part = found.parts["controlnet"]
    config = part.config
    if not isinstance(config, ControlNetConfig):
        raise CheckpointError(f"{path} is no ControlNet of a kind that is known here.")
    own = model.backbone.config
    for name in ("context_dim", "added_dim", "model_channels", "channel_mult"):
        theirs, ours = getattr(config.unet, name), getattr(own, name, None)
        if theirs != ours:
            raise CheckpointError(
                f"{path} steers another family: its {name} is {theirs}, "
                f"that of {model.info.name} is {ours}."
            )
    with torch.device("meta"):
        network = ControlNet(config)
    try:
        load_part(part, network, model.device, model.dtype)
        arrange(network, model.device, model.dtype)
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(
            f"the ControlNet {path.name!r} does not fit into the device's memory ({error}); "
            "use fewer at once, or a smaller model."
        ) from None
    return network.eval().requires_grad_(False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Styles:
    """The LoRAs of one job. texts: one list for each text encoder.

    The keys tell jobs apart, by names: a file that was dropped and read again is the same.
    """

    tags: tuple[LoraTag, ...] = ()
    backbone: tuple[tuple[PatchSet, float], ...] = ()
    texts: tuple[tuple[tuple[PatchSet, float], ...], ...] = ()

    @property
    def key(self) -> tuple[tuple[str, float], ...]:
        """Return what is equal for jobs whose networks are changed in the same way."""
        return tuple((tag.name, tag.unet) for tag in self.tags if tag.unet)

    @property
    def text_key(self) -> tuple[tuple[str, float], ...]:
        """Return the same for the text encoders."""
        return tuple((tag.name, tag.text) for tag in self.tags if tag.text)

    @contextmanager
    def on_text(self, model: "Model") -> Iterator[None]:
        """Change the text encoders for the length of the block."""
        with ExitStack() as stack:
            if model.text is not None:
                for encoder, patches in zip(model.text.encoders, self.texts, strict=False):
                    stack.enter_context(patched(encoder.model, patches))
            yield


def read_ahead(model: "Model", params: Params) -> Callable[[], object] | None:
    """Return what reads the files that a job needs, for any thread; None when all are read."""
    try:
        loras = list(_tags(params))
    except ParamsError:
        return None  # Whoever adds the job is told.
    controls = [control.model for control in params.controls]
    inversions = _inversions(model)
    words = () if inversions is None else inversions.unread(params.prompt, params.negative_prompt)
    if model.addons.has(loras, controls) and not words:
        return None

    def read() -> None:
        for name in loras:
            model.addons.lora(name, model)
        for name in controls:
            model.addons.control(name, model)
        for name in words:
            cast("Inversions", inversions).read(name)

    return read


def _inversions(model: "Model") -> "Inversions | None":
    """Return a model's textual inversions, which all of its encoders share."""
    encoders = () if model.text is None else model.text.encoders
    return encoders[0].inversions if encoders else None


def look_again(
    model: "Model", loras: Path | None, embeddings: Path | None, changed: Collection[str]
) -> None:
    """Take in a model's folders of LoRAs and textual inversions as they are now. CheckpointError
    where a folder is none any more.
    """
    model.addons.look_again(enumerate_files(loras), changed)
    inversions = _inversions(model)
    if inversions is not None:
        inversions.look_again(enumerate_files(embeddings), changed)


def _tags(params: Params) -> dict[str, LoraTag]:
    """Return the LoRAs of a job's prompts by name; the last weight given holds."""
    tags: dict[str, LoraTag] = {}
    for prompt in (params.prompt, params.negative_prompt):
        tags |= {tag.name: tag for tag in parse_prompt(prompt, params.steps).loras}
    return tags


def styles_for(model: "Model", params: Params) -> Styles:
    """Find the LoRAs that a job's prompts name, each once; the last weight given holds."""
    tags = _tags(params)
    found = [(tag, model.addons.lora(tag.name, model)) for tag in tags.values()]
    count = 0 if model.text is None else len(model.text.encoders)
    return Styles(
        tags=tuple(tags.values()),
        backbone=tuple((matched.unet, tag.unet) for tag, matched in found if tag.unet),
        texts=tuple(
            tuple((matched.texts[i], tag.text) for tag, matched in found if tag.text)
            for i in range(count)
        ),
    )


def _find(table: Mapping[str, Path], name: str, *, field: str, kind: str) -> Path:
    if name in table:
        return table[name]
    hint = nearest(name, table)
    if hint:
        advice = f"there is no {kind} of that name; did you mean {hint!r}?"
    elif table:
        advice = f"there is no {kind} of that name; there are {', '.join(sorted(table)[:10])}"
    else:
        advice = f"there is no {kind} here: the admin has not laid any beside this model"
    raise ParamsError(field, name, advice)
