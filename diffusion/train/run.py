"""The parts of a training run in order, each one resumable command: data, vae, denoiser, export.

Promises: everything lives in one folder (`art/` the data set, `run-<preset>/` the states); a part
that is complete is not done again; each part stops by its own clock.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tokenizers import Tokenizer

from diffusion.errors import CheckpointError
from diffusion.generation import generate
from diffusion.loading import load_model
from diffusion.model import Model
from diffusion.networks.vae import AutoencoderKL
from diffusion.params import Params
from diffusion.schedules import NoiseSchedule
from diffusion.train import caches, emoji
from diffusion.train.charts import loss_curve, sheet
from diffusion.train.data import Pixels, Row, read_art, read_index, select
from diffusion.train.denoiser import DenoiserRecipe, train_denoiser
from diffusion.train.presets import PRESETS, EmojiPreset
from diffusion.train.state import Average, Progress, never
from diffusion.train.thesaurus_file import build_thesaurus
from diffusion.train.vae import train_vae

# What the sample sheet paints: the four that everybody must recognise, harder ones, compositions.
SHEET_PROMPTS: Final = (
    "red heart",
    "smiling face",
    "cat face",
    "red apple",
    "rocket",
    "robot",
    "unicorn",
    "sunflower",
    "frog, 3d style",
    "blue heart, twemoji style",
    "fish, on a purple background",
    "a purple apple",
    "a green dog",
    "a cat next to a pizza",
    "a star above a house",
    "three mushrooms",
)
_SHEET_SEEDS: Final = 3
# An autoencoder learns little from the ten thousandth pair.
COMPOSED_MOST: Final = 4000
# In steps; the training functions report every 50.
CHART_EVERY: Final = 400
SHEET_EVERY: Final = 4000

Report = Callable[[str, Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """A folder in which a preset is trained."""

    folder: Path
    preset: EmojiPreset
    name: str
    device: str = "cpu"

    @property
    def run(self) -> Path:
        """Where this preset keeps its states."""
        return self.folder / f"run-{self.name}"

    def rows(self, *, held_out: bool = False) -> list[Row]:
        """Return the drawings the denoiser is trained on, or those kept from it."""
        return select(
            read_index(self.folder / "art"),
            styles=self.preset.styles,
            preset=self.preset.names,
            held_out=held_out,
        )

    def pixels(self) -> Pixels:
        """Return all drawings, N x S x S x 4, memory-mapped."""
        return read_art(self.folder / "art", self.preset.pixels)


def open_workshop(folder: Path, preset: str, *, device: str = "cpu") -> Workshop:
    """Return the workshop of a preset by name; KeyError names the ones there are."""
    if preset not in PRESETS:
        raise KeyError(f"no preset {preset!r}; there are {', '.join(PRESETS)}")
    return Workshop(folder=folder, preset=PRESETS[preset], name=preset, device=device)


def _charting(workshop: Workshop, part: str, report: Report) -> Callable[[Progress], None]:
    """Draw <part>-loss.png and paint sheet.png now and then, and hand on what is reported."""

    def told(progress: Progress) -> None:
        if progress.steps % CHART_EVERY == 0:
            _chart(workshop, part, progress.log)
        if part == "denoiser" and progress.steps % SHEET_EVERY == 0:
            # From the state that was saved last, a few hundred steps ago.
            paint_sheet(workshop)
        report(part, progress)

    return told


def paint_sheet(workshop: Workshop) -> None:
    """Export what the run has learned and paint sheet.png with it."""
    run_export(workshop, workshop.run / "model")
    sample_sheet(workshop.run / "model", workshop.run / "sheet.png")


def _chart(workshop: Workshop, part: str, log: Sequence[Mapping[str, float]]) -> None:
    loss_curve(log, workshop.run / f"{part}-loss.png", title=f"{part}, {workshop.name}")


def run_vae(
    workshop: Workshop, *, minutes: float, report: Report, start: str | None = None,
    stop: Callable[[], bool] = never,
) -> None:  # fmt: skip
    """Train the autoencoder on every drawing of the preset's `vae_styles` and on compositions.

    A run begins with the autoencoder of the model `start`, if one is given.
    """
    workshop.run.mkdir(parents=True, exist_ok=True)
    rows = select(
        read_index(workshop.folder / "art"), styles=workshop.preset.vae_styles, preset="all"
    )
    vae = AutoencoderKL(workshop.preset.vae.config)
    begin = None if start is None else _weights(start, "autoencoder", vae)
    train_vae(
        _canvases(workshop, rows),
        workshop.run,
        recipe=workshop.preset.vae,
        minutes=minutes,
        report=_charting(workshop, "vae", report),
        device=workshop.device,
        begin=begin,
        stop=stop,
    )
    _chart(workshop, "vae", _progress(workshop.run, "vae")["log"])


def _canvases(workshop: Workshop, rows: Sequence[Row]) -> Pixels:
    """Return drawings, and compositions of those the denoiser may see: N x S x S x 4."""
    drawings, preset = workshop.pixels()[[row.row for row in rows]], workshop.preset
    count = min(preset.compositions, COMPOSED_MOST)
    mix = preset.mix.composed()
    pictures = caches.compose(workshop.pixels(), workshop.rows(), count, mix, seed=preset.vae.seed)
    return np.concatenate([drawings, *(picture.canvas[None] for picture in pictures)])


def run_decoder(
    workshop: Workshop, *, minutes: float, report: Report, stop: Callable[[], bool] = never
) -> None:
    """Sharpen the decoder on the drawings the denoiser is trained on; the encoder stays."""
    recipe = workshop.preset.vae
    train_vae(
        _canvases(workshop, workshop.rows()),
        workshop.run,
        recipe=replace(recipe, learning_rate=recipe.learning_rate / 3, seed=recipe.seed + 1),
        minutes=minutes,
        report=_charting(workshop, "decoder", report),
        decoder_of=_averaged(workshop, "vae"),
        device=workshop.device,
        stop=stop,
    )
    _chart(workshop, "decoder", _progress(workshop.run, "decoder")["log"])


def load_vae(workshop: Workshop) -> AutoencoderKL:
    """Return the trained autoencoder (averaged weights) with normalised latents.

    The normalisation is measured by the encoder, so a decoder sharpened later fits all the same.
    """
    vae = _averaged(workshop, "vae")
    sharpened = workshop.run / "decoder-state.safetensors"
    if sharpened.exists():
        vae = _averaged(workshop, "decoder")
    vae.eval().requires_grad_(requires_grad=False)
    emoji.normalise_latents(vae, _art(workshop, workshop.rows()))
    return vae


def _weights(model: str, part: str, network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return copies of a model's weights for a network; CheckpointError where they do not fit."""
    loaded = load_model(model)
    source: torch.nn.Module = loaded.vae if part == "autoencoder" else loaded.backbone
    weights = {name: tensor.float().clone() for name, tensor in source.state_dict().items()}
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    if {name: tensor.shape for name, tensor in weights.items()} != shapes:
        raise CheckpointError(
            f"the {part} of {model} has other sizes than this preset's: begin with a model of the "
            "same sizes, or without one."
        )
    return weights


def _averaged(workshop: Workshop, part: str) -> AutoencoderKL:
    """Return the autoencoder of a state, averages in place of what was trained."""
    vae = AutoencoderKL(workshop.preset.vae.config)
    tensors = load_file(workshop.run / f"{part}-state.safetensors")
    weights: dict[str, torch.Tensor] = {}
    for prefix in ("weights.vae.", "average.vae."):
        weights |= {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    vae.load_state_dict(weights)
    return vae


def use_threads(count: int) -> None:
    """Set how many cores the operators use; one is best where other programs run."""
    torch.set_num_threads(count)


def load_tokenizer(workshop: Workshop) -> Tokenizer:
    """Return the tokenizer of this run, trained when it is first asked for."""
    path = workshop.run / "tokenizer.json"
    if not path.exists():
        emoji.build_tokenizer(workshop.preset, read_index(workshop.folder / "art")).save(str(path))
    return Tokenizer.from_file(str(path))


def run_denoiser(
    workshop: Workshop,
    *,
    minutes: float,
    report: Report,
    recipe: DenoiserRecipe | None = None,
    start: str | None = None,
    stop: Callable[[], bool] = never,
) -> Average:
    """Train the text encoder and the U-Net; return the averaged weights.

    A run begins with the U-Net of the model `start`, if one is given; never with its text encoder,
    which has learned from captions of its own.
    """
    vae, tokenizer = load_vae(workshop), load_tokenizer(workshop)
    recipe = recipe or workshop.preset.denoiser
    text, unet = emoji.build_networks(workshop.preset, tokenizer, recipe.seed)
    if start is not None:
        unet.load_state_dict(_weights(start, "U-Net", unet))
    batches = caches.make_batches(workshop.preset, vae, workshop.pixels(), workshop.rows(), text)
    schedule = NoiseSchedule.from_config(dict(emoji.SCHEDULE))
    average = train_denoiser(
        {"text": text.model, "unet": unet},
        batches,
        torch.as_tensor(schedule.alphas_cumprod).float(),
        workshop.run,
        recipe=recipe,
        minutes=minutes,
        report=_charting(workshop, "denoiser", report),
        device=workshop.device,
        stop=stop,
    )
    _chart(workshop, "denoiser", _progress(workshop.run, "denoiser")["log"])
    return average


def run_export(workshop: Workshop, folder: Path) -> None:
    """Write the shipped files from the states of this run."""
    vae, tokenizer = load_vae(workshop), load_tokenizer(workshop)
    text, _ = emoji.build_networks(workshop.preset, tokenizer, 0)
    state = workshop.run / "denoiser-state.safetensors"
    weights = {
        n.removeprefix("average."): t
        for n, t in load_file(state).items()
        if n.startswith("average.")
    }
    rows = workshop.rows()
    emoji.export(
        folder,
        workshop.preset,
        vae=vae,
        text=text,
        weights=weights,
        preview=emoji.preview_projection(vae, _art(workshop, rows)),
        training={"preset": workshop.name, "drawings": len(rows), **_told(workshop.run)},
    )


def run_thesaurus(workshop: Workshop, folder: Path) -> None:
    """Lay beside an exported model what it reads for words it does not know (see `thesaurus`).

    Only where it has learned the committed list of names; PackagesError without WordNet.
    """
    if workshop.preset.names == "known":
        counted = bool(workshop.preset.compositions)
        build_thesaurus(folder, workshop.folder / "packages", counted=counted)


def _progress(run: Path, part: str) -> dict[str, Any]:
    """Return what a part's state says about how far it has come."""
    with safe_open(run / f"{part}-state.safetensors", framework="pt") as file:
        told: dict[str, Any] = json.loads(file.metadata()["progress"])
    return told


def _told(run: Path) -> dict[str, object]:
    keys = ("steps", "samples", "seconds", "precision")
    parts = {part: _progress(run, part) for part in ("vae", "denoiser")}
    return {part: {key: told[key] for key in keys} for part, told in parts.items()}


def _art(workshop: Workshop, rows: Sequence[Row]) -> torch.Tensor:
    pixels = workshop.pixels()[[row.row for row in rows]]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def native_params(model: Model, prompt: str, *, seed: int, images: int = 4) -> Params:
    """Return a prompt's params with everything else as the model likes it best."""
    info = model.info
    return Params(
        prompt=prompt,
        seed=seed,
        steps=info.defaults.steps,
        guidance_scale=info.defaults.guidance_scale,
        sampler=info.defaults.sampler,
        schedule=info.defaults.schedule,
        width=info.native_width,
        height=info.native_height,
        images=images,
    )


def sample_sheet(model_folder: Path, path: Path, *, prompts: Sequence[str] = SHEET_PROMPTS) -> None:
    """Paint three pictures of every prompt with an exported model and save them side by side."""
    model = load_model(model_folder)
    columns = []
    for prompt in prompts:
        *_, last = generate(model, native_params(model, prompt, seed=1, images=_SHEET_SEEDS))
        columns.append(last.pictures or ())
    sheet(list(zip(*columns, strict=True)), path, columns=prompts)
