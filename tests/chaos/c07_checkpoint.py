"""C7: damaged model files, six kinds in turn; every one refused, by name and reason, in time.

What the structure of a file does not tell (a bit of a weight, a letter of the metadata), its hash
does: the file was trusted before, as by an earlier start. Where the structure tells, no weight has
been asked for when the refusal comes; numbers that are not finite are found while they are read.
"""

import asyncio
import json
import math
import random
import shutil
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import diffusion
from bot.config import Config, parse_config
from bot.trusted import ChangedFileError, check
from diffusion import CheckpointError, Params
from tests.chaos.suite import Run, Suite
from tests.hostile import pickles

KINDS = ("truncated", "header", "data", "family", "numbers", "pickle")
# After so many damaged files the sound one must still paint.
ROUND = 60
BAD = (float("nan"), float("inf"), float("-inf"))


async def run(run: Run) -> None:
    """Damage a model's file again and again, and try to load it each time."""
    sound = await asyncio.to_thread(_sound)
    path, canary = run.folder / "model.safetensors", run.folder / "canary"
    shutil.copyfile(sound, path)
    config = parse_config(f'[models.emoji]\npath = "{path}"\n', run.folder / "config.toml")
    check(config, thorough=True)
    data, chance = sound.read_bytes(), run.random()
    disguised = pickles(run.count // len(KINDS) + 1, canary)
    for number in range(run.count):
        kind = KINDS[number % len(KINDS)]
        damaged = next(disguised)[1] if kind == "pickle" else DAMAGES[kind](data, chance)
        path.write_bytes(damaged)
        await asyncio.to_thread(_refused, run, config, path, kind)
        run.must(not canary.exists(), f"{number}: the pickle was run")
        if number % ROUND == ROUND - 1 or number == run.count - 1:
            path.write_bytes(data)
            await asyncio.to_thread(_paints, run, config, path)
        run.passed()


def _sound() -> Path:
    """Return a tiny Stable Diffusion 1 in one file."""
    # It brings diffusers, for which no other suite should wait.
    from tests.parity.pipelines import system

    return system("sd1").single


def _refused(run: Run, config: Config, path: Path, kind: str) -> None:
    """Load a damaged file as a start does: held against what was trusted, then opened.

    Both are tried, so that each is known to stand alone where it can.
    """
    changed = _sentence(partial(check, config), path, ChangedFileError)
    run.add(f"{kind}: told by the hash", int(bool(changed)))
    # It brings torch, as `diffusion.load_model` does when it is first named.
    from diffusion.checkpoints.reading import Reading

    asked: list[str] = []
    plain = Reading.read_all

    def read_all(self: Reading, *given: object) -> object:
        asked.append(kind)
        return plain(self, *given)  # type: ignore[arg-type]

    with mock.patch.object(Reading, "read_all", read_all):
        told = _sentence(partial(diffusion.load_model, path), path, CheckpointError)
    run.add(f"{kind}: told by the structure", int(bool(told)))
    run.must(changed or told, f"a file with damage of the kind {kind} is as good as a sound one")
    if kind == "data":
        run.must(changed, "a changed weight was trusted")
    if kind in ("truncated", "family", "numbers", "pickle"):
        run.must(told, f"a file with damage of the kind {kind} was loaded, or refused namelessly")
    if kind in ("truncated", "pickle"):
        run.must(not asked, f"weights were read of a file with damage of the kind {kind}")
    if kind == "numbers" and told:
        run.must("not finite" in told, f"not finite, but: {told}")


def _sentence(act: Callable[[], object], path: Path, error: type[Exception]) -> str:
    """Return the sentence of a refusal that names the file and says more; empty for none."""
    try:
        act()
    except error as refusal:
        text = str(refusal)
        return text if path.name in text and len(text) > len(str(path)) + 20 else ""
    return ""


def _paints(run: Run, config: Config, path: Path) -> None:
    """See that the sound file is trusted, loads, and makes a picture."""
    check(config, thorough=True)
    params = Params(prompt="a fox", seed=3, steps=1, width=64, height=64, images=1)
    pictures = list(diffusion.generate(diffusion.load_model(path), params))[-1].pictures
    run.must(pictures and pictures[0].size == (64, 64), "the sound file does not paint any more")
    run.add("sound loads")


def _truncated(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def _header(data: bytes, chance: random.Random) -> bytes:
    end = 8 + int.from_bytes(data[:8], "little")
    damaged = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        damaged[chance.randrange(end)] ^= chance.randrange(1, 256)
    return bytes(damaged)


def _data(data: bytes, chance: random.Random) -> bytes:
    start = 8 + int.from_bytes(data[:8], "little")
    damaged = bytearray(data)
    # The lowest bits, so that all numbers stay near what they were.
    damaged[start + (chance.randrange(len(data) - start) & ~3)] ^= 1
    return bytes(damaged)


def _family(data: bytes, chance: random.Random) -> bytes:
    """Give a tensor that is used another size, as in a file of another family."""
    end = 8 + int.from_bytes(data[:8], "little")
    table = json.loads(data[8:end])
    names = sorted(name for name in table if name.startswith("model.diffusion_model."))
    name = chance.choice([each for each in names if len(table[each]["shape"]) > 1])
    shape = table[name]["shape"]
    table[name]["shape"] = [shape[0] // 2, shape[1] * 2, *shape[2:]]
    text = json.dumps(table).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]


def _numbers(data: bytes, chance: random.Random) -> bytes:
    places = _weights(data)
    start, end = chance.choice(places)
    damaged = bytearray(data)
    struct.pack_into(
        "<f", damaged, start + 4 * chance.randrange((end - start) // 4), chance.choice(BAD)
    )
    return bytes(damaged)


def _weights(data: bytes) -> list[tuple[int, int]]:
    """Return where the float32 weights of the networks lie."""
    end = 8 + int.from_bytes(data[:8], "little")
    table = json.loads(data[8:end])
    return [
        (end + each["data_offsets"][0], end + each["data_offsets"][1])
        for name, each in sorted(table.items())
        if name.startswith(("model.diffusion_model.", "first_stage_model."))
        and each["dtype"] == "F32"
        and math.prod(each["shape"])
    ]


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "truncated": _truncated,
    "header": _header,
    "data": _data,
    "family": _family,
    "numbers": _numbers,
}
SUITE = Suite(
    name="C7",
    about="damaged model files: cut off, head, data, family, numbers, pickles",
    commit=300,
    night=3000,
    run=run,
)
