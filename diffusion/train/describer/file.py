"""The file that ships: describer.safetensors, in half precision, with all that is known about it.

Promises: what `describe.load_describer` reads, and beside it as metadata whose drawings it learned,
under which licences, how, and what it was measured to know.
"""

from __future__ import annotations

import json
from pathlib import Path

from diffusion.describe import FORMAT
from diffusion.train.captions import BACKGROUNDS, WHITE
from diffusion.train.describer.training import DescriberTrainer
from diffusion.train.emoji import credit_lines
from diffusion.train.state import write_atomically


def export_describer(
    trainer: DescriberTrainer, path: Path, measured: dict[str, float] | None = None
) -> None:
    """Write what a run has learned; `measured` are the figures of `measure`, by their keys."""
    lesson, network, progress = trainer.lesson, trainer.learned(), trainer.progress
    config = network.config
    card = {
        "format": FORMAT,
        "channels": list(config.channels),
        "embedding": config.embedding,
        "scale": config.scale,
        "names": list(lesson.names),
        "styles": list(lesson.styles),
        "painted": list(lesson.painted),
        "taught": [name for name in lesson.names if name in lesson.known],
        "palette": {colour.name: list(colour.rgb) for colour in (WHITE, *BACKGROUNDS)},
    }
    training = {
        "drawings": len(lesson.train),
        "kept_out": len(lesson.held_out),
        "split": "every drawing but those that diffusion.train.data.is_held_out keeps",
        "samples": progress.samples,
        "seconds": round(progress.seconds, 1),
        "precision": progress.precision,
        "seed": trainer.recipe.seed,
    }
    metadata = {
        "format": "pt",
        "describer": json.dumps(card, ensure_ascii=False),
        "training": json.dumps(training),
        "measured": json.dumps(measured or {}),
        "license": "MIT; trained on drawings under the licences in credits, see THIRD_PARTY_ART.md",
        "credits": "\n".join(credit_lines(lesson.styles)),
    }
    tensors = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in network.state_dict().items()
    }
    write_atomically(path, tensors, metadata)
