"""`python -m tests.hostile_paths FOLDER COUNT`: hostile names, wherever a name of a person's goes.

Every file and folder that this process opens meanwhile is seen by an audit hook, which is why this
is a process of its own. Prints one line of JSON: what was opened, and what came of the good names.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bot.addon_names import check_names, known
from bot.config import parse_config
from bot.exits import Exit
from bot.imagine import params_of
from bot.language import speaking, tr
from bot.loading import describe_models
from bot.prompt import PromptError, draw
from bot.wildcards import load_wildcards
from diffusion import DiffusionError
from diffusion.adapters.lora import load_lora
from diffusion.addon_files import enumerate_files
from diffusion.addons import Addons
from storage import StorageError, Store
from tests.hostile import names

EXPECTED = (Exit, PromptError, DiffusionError, StorageError, KeyError, LookupError, ValueError)


class Opened:
    """The paths that were opened or listed while it was on."""

    def __init__(self) -> None:
        """Hear from now on."""
        self.on = False
        self.paths: set[str] = set()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, given: tuple[Any, ...]) -> None:
        if self.on and event in ("open", "os.listdir", "os.scandir", "os.truncate", "os.remove",
                                 "os.rename", "os.mkdir", "os.link", "os.symlink"):  # fmt: skip
            path = given[0]
            if isinstance(path, str | bytes | os.PathLike):
                text = os.fsdecode(path)
                with suppress(ValueError):
                    text = os.path.realpath(text)
                self.paths.add(text)


async def main(root: Path, count: int) -> None:
    """Send every name everywhere."""
    text = (
        '[models.emoji]\npath = "emoji"\n'
        f'loras = "{root}/loras"\nembeddings = "{root}/embeddings"\n'
        f'[defaults]\nwildcards = "{root}/words"\n'
    )
    config = parse_config(text, root / "config.toml")
    models, model = describe_models(config), config.models["emoji"]
    store = await Store.open(root / "data")
    # As much of a model as is read before a file is opened.
    loaded: Any = SimpleNamespace(backbone=None, info=SimpleNamespace(name="emoji"))
    addons = Addons(loras=enumerate_files(model.loras))
    words = config.defaults.wildcards

    async def everywhere(name: str) -> int:
        done = 0
        ways: tuple[Callable[[], object], ...] = (
            lambda: check_names(f"a fox <lora:{name}:1>", known(model)),
            lambda: check_names(f"a fox embedding:{name}", known(model)),
            lambda: addons.lora(name, loaded),
            lambda: addons.control(name, loaded),
            lambda: load_lora(enumerate_files(model.loras)[name]),
            lambda: draw(f"a __{name}__", 1, load_wildcards(words)),
            lambda: params_of(f"a fox --model {name}", config, models),
            lambda: params_of(f"a fox --preset {name}", config, models),
            lambda: params_of(name, config, models),
            lambda: _spoken(name),
        )
        for way in ways:
            with suppress(*EXPECTED):
                way()
                done += 1
        for asked in (store.job, store.read_file, store.pictures):
            with suppress(*EXPECTED):
                await asked(name)
        return done

    opened = Opened()
    # Once before: what is imported late is nobody's doing.
    for name in ("good", "../outside"):
        await everywhere(name)
    opened.on = True
    good = await everywhere("good")
    inside = sorted(opened.paths)
    opened.paths.clear()
    for name in names(count):
        await everywhere(name)
    opened.on = False
    await store.close()
    print(json.dumps({"good": good, "inside": inside, "opened": sorted(opened.paths)}))  # noqa: T201


def _spoken(locale: str) -> str:
    with speaking(locale):
        return tr("There is no job {job} here.", job=1)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).resolve(), int(sys.argv[2])))
