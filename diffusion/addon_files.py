"""Which files of weights lie beside a model: the names that prompts may say, and nothing else.

Promises that a name is one that a folder has, and that no link leads out of the folder. Reads no
weights; never imports torch.
"""

import logging
from pathlib import Path

from diffusion.errors import CheckpointError

log = logging.getLogger(__name__)


def enumerate_files(folder: Path | None) -> dict[str, Path]:
    """Return the add-ons of a folder by name: files by their stem, model folders by their name.

    What a link leads to outside of the folder is left out.
    """
    if folder is None:
        return {}
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is no folder; make it, or leave the setting empty.")
    home = folder.resolve()
    files = sorted(path for path in folder.rglob("*.safetensors") if _is_inside(path, home))
    found = {path.stem: path for path in files if path.is_file()}
    for config in sorted(path for path in folder.glob("*/config.json") if _is_inside(path, home)):
        for path in config.parent.glob("*.safetensors"):
            found.pop(path.stem, None)
        found[config.parent.name] = config.parent
    return found


def _is_inside(path: Path, home: Path) -> bool:
    if path.resolve().is_relative_to(home):
        return True
    log.warning("%s is left out: it is a link that leads out of its folder", path)
    return False
