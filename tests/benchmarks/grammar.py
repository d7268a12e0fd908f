"""How long the prompt grammar takes: made-up prompts and the real ones of PartiPrompts.

Run: python -m tests.benchmarks.grammar [--count 20000]
Prints, for each way through the grammar, the median and the 99th of a hundred in milliseconds. The
target is a p99 under 1 ms. Promises that the same seed makes the same prompts; the time is the
processor's, so what else runs does not count. `made_up` is what the tests draw from as well.
"""

import argparse
import csv
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bot.prompt import FLAGS, LATER, PromptError, draw, expand, expand_macros, parse

PARTI: Final = Path(__file__).parent.parent / "data" / "parti_prompts.tsv"
MACROS: Final = {"mine": "--ar 3:2 --no text", "loud": "in neon --s 400 --mine", "loop": "--loop"}
LISTS: Final = {
    "colour": ("red", "blue", "{dark|light} green"),
    "animal": ("cat", "__colour__ fox"),
}
PIECES: Final = (
    "a cat",
    "in a hat",
    "a::2",
    "b::-0.5",
    "{red, green}",
    "{1:1, 3:2}",
    "{a|b|c}",
    "{2$$a|b|c}",
    "{0.5::a|b}",
    "{a, {b, c}|d}",
    "__colour__",
    "__animal__",
    "__nosuch__",
    "(c:1.3)",
    "[d:e:0.5]",
    "[f|g]",
    "AND",
    "BREAK",
    "<lora:ink:0.8>",
    r"\{",
    r"\,",
    "{",
    "}",
    "|",
    "$$",
    "::",
    "prompt:",
    "well--known",
    "—ar 3:2",
    "猫",
    "🦊",
    "--mine",
    "--loud",
    "--loop",
)
VALUES: Final = (
    "",
    "3:2",
    "7",
    "0.5",
    "-1",
    "raw",
    "Euler a",
    "50",
    "1.85:1",
    "x" * 50,
    "１６：９",
)
NAMES: Final = tuple(f"--{name}" for flag in FLAGS for name in flag.names) + tuple(
    f"--{name}" for later in LATER for name in later.names
)


def made_up(seed: int, count: int) -> Iterator[str]:
    """Yield prompts made of words, flags, signs of the grammar, and noise."""
    source = random.Random(seed)  # noqa: S311 - a fixed heap of prompts
    real = parti()
    for _ in range(count):
        parts = [source.choice(real)] if source.random() < 0.5 else []
        parts += [source.choice(PIECES) for _ in range(source.randint(0, 4))]
        for flag in source.sample(FLAGS, source.randint(0, 5)):
            usual = source.random() < 0.9
            parts.append(f"--{flag.name}" if usual else source.choice(NAMES))
            parts.append(flag.example if usual else source.choice(VALUES))
        if source.random() < 0.1:
            parts.append("".join(chr(source.randint(0, 0x10FFFF)) for _ in range(6)))
        if source.random() < 0.1:
            source.shuffle(parts)
        yield source.choice((" ", " ", " ", " ", "")).join(parts)


def parti() -> list[str]:
    """Return the prompts of PartiPrompts (Yu et al. 2022)."""
    with PARTI.open(encoding="utf-8", newline="") as file:
        return [
            row["Prompt"]
            for row in csv.DictReader(file, dialect="excel-tab", quoting=csv.QUOTE_NONE)
        ]


def whole(text: str) -> None:
    """Send a text through the whole grammar."""
    for each in expand(expand_macros(text, MACROS)):
        parsed = parse(each)
        draw(parsed.prompt, 7, LISTS)


def timed(work: Callable[[str], object], texts: list[str]) -> tuple[float, float, int]:
    """Return median and p99 in milliseconds, and how many texts were refused."""
    times, refused = [], 0
    for text in texts:
        before = time.thread_time()
        try:
            work(text)
        except PromptError:
            refused += 1
        times.append((time.thread_time() - before) * 1000)
    times.sort()
    return times[len(times) // 2], times[len(times) * 99 // 100], refused


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    count = parser.parse_args().count
    heaps = {"PartiPrompts": parti(), "made-up prompts": list(made_up(7, count))}
    for name, texts in heaps.items():
        for what, work in (("parse", parse), ("whole grammar", whole)):
            median, high, refused = timed(work, texts)
            print(  # noqa: T201 - what this script is for
                f"{name}, {what}: {len(texts):,} texts, {refused:,} refused, "
                f"p50 {median:.3f} ms, p99 {high:.3f} ms"
            )


if __name__ == "__main__":
    main()
