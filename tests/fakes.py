"""An engine without torch: coloured pictures that follow from the seed alone, and gates to open.

Promises the engine's whole contract that the bot relies on: steps in order, pictures on the last,
cancelling by closing the iterator, errors of `diffusion`. Never sleeps: a held job waits.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from diffusion import (
    Influence,
    ModelDefaults,
    ModelInfo,
    Params,
    Step,
    TokenCount,
    UnknownModelError,
)
from diffusion.fairness import Share
from diffusion.words import words_of


def model_info(name: str = "emoji", *, side: int = 64, scale: int = 4) -> ModelInfo:
    """Describe a model like the shipped one, which lies nowhere."""
    return ModelInfo(
        name=name,
        family="emoji",
        path=f"/nowhere/{name}",
        native_width=side,
        native_height=side,
        size_multiple=8,
        display_scale=scale,
        defaults=ModelDefaults(steps=4, guidance_scale=4.0, sampler="dpmpp_2m", schedule="karras"),
        sha256=hashlib.sha256(name.encode()).hexdigest(),
    )


def colour(seed: int, init_image: str | None = None) -> tuple[int, int, int]:
    """Return the one colour of the picture painted from a seed (and a source)."""
    digest = hashlib.sha256(f"{seed % 2**32} {init_image}".encode()).digest()
    return digest[0], digest[1], digest[2]


def paint(params: Params, number: int) -> Image.Image:
    """Paint picture `number` (from 0): a field of the seed's colour with a darker frame."""
    shade = colour(params.seed_of(number) + (number if params.morph else 0), params.init_image)
    picture = Image.new("RGB", (params.width, params.height), tuple(part // 2 for part in shade))
    field_ = Image.new("RGB", (params.width - 8, params.height - 8), shade)
    picture.paste(field_, (4, 4))
    return picture


@dataclass(slots=True, eq=False)
class Gate:
    """Where a job waits: before step `step` of every job, or of those whose prompt holds a word."""

    step: int
    word: str = ""
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    held: int = 0

    async def holds(self, count: int, *, seconds: float = 20) -> None:
        """Wait until so many jobs have come to it."""
        async with asyncio.timeout(seconds):
            while self.held < count:
                self.reached.clear()
                await self.reached.wait()


@dataclass(slots=True, eq=False)
class Trouble:
    """An error raised before step `step` of jobs whose prompt holds the word."""

    error: Callable[[], BaseException]
    step: int = 1
    word: str = ""
    times: int = 1


class FakeSteps:
    """The steps of one job, as of a `Submission`: those of a generator, for the pictures kept."""

    def __init__(self, steps: AsyncGenerator[Step, None], kept: list[int]) -> None:
        self._steps = steps
        self._kept = kept

    def __aiter__(self) -> "FakeSteps":
        return self

    async def __anext__(self) -> Step:
        return await anext(self._steps)

    def keep(self, images: Iterable[int]) -> None:
        """Go on with these pictures alone."""
        wanted = frozenset(images)
        if not wanted:
            raise ValueError("a job without pictures is a cancelled one: close it")
        self._kept[:] = [number for number in self._kept if number in wanted]

    async def aclose(self) -> None:
        """Give the job up."""
        await self._steps.aclose()


class FakeEngine:
    """Paints by seed; `hold` and `trouble` say what goes slowly or wrong."""

    def __init__(
        self, *, models: tuple[str, ...] = ("emoji",), seconds_per_step: float | None = 0.1
    ) -> None:
        self.models = models
        self.device = "a fake device"
        self.seconds_per_step = seconds_per_step
        self.submitted: list[Params] = []
        self.sources: list[Image.Image | None] = []
        self.masks: list[Image.Image | None] = []
        self.shares: list[Share] = []
        self.states: list[bytes | None] = []
        self.flagged: tuple[bool, ...] = ()
        self.running = 0
        self.most_running = 0
        self.finished: list[Params] = []
        self.abandoned: list[Params] = []
        self.looked_again: list[tuple[str, frozenset[str]]] = []
        self._gates: list[Gate] = []
        self._troubles: list[Trouble] = []

    async def __aenter__(self) -> "FakeEngine":
        return self

    async def __aexit__(self, *_: object) -> None:
        """Have nothing to close."""

    def hold(self, step: int = 2, *, word: str = "") -> Gate:
        """Make jobs wait before a step until the gate is opened."""
        gate = Gate(step, word)
        self._gates.append(gate)
        return gate

    def fail(
        self, error: Callable[[], BaseException], *, step: int = 1, word: str = "", times: int = 1
    ) -> None:
        """Make the next jobs fail before a step."""
        self._troubles.append(Trouble(error, step, word, times))

    def submit(
        self,
        params: Params,
        *,
        init_image: Image.Image | None = None,
        mask: Image.Image | None = None,
        hints: Sequence[Image.Image] = (),
        share: Share = "fast",
        state: bytes | None = None,
    ) -> FakeSteps:
        """Return the steps of a job; it counts as submitted when the first is asked for."""
        kept = list(range(params.images))

        def note() -> None:
            self.submitted.append(params)
            self.sources.append(init_image)
            self.masks.append(mask)
            self.shares.append(share)
            self.states.append(state)

        return FakeSteps(self._steps(params, kept, note), kept)

    async def _steps(
        self, params: Params, kept: list[int], note: Callable[[], None]
    ) -> AsyncGenerator[Step, None]:
        if params.model not in self.models:
            raise UnknownModelError(f"no model is called {params.model!r}")
        note()
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        total = max(1, params.steps * params.stop // 100)
        pictures = tuple(paint(params, number) for number in range(params.images))
        done = False
        try:
            for index in range(1, total + 1):
                await self._wait(params, index)
                # The loop gets a turn between two steps, as it does with the real engine.
                await asyncio.sleep(0)
                last = index == total
                whole = len(kept) == params.images
                step = Step(
                    index=index,
                    total=total,
                    pictures=tuple(pictures[number] for number in kept) if last else None,
                    images=tuple(kept),
                    flagged=self.flagged if last else (),
                    state=b"latents" if last and whole and params.stop < 100 else None,
                    draw_preview=lambda: pictures[kept[0]].resize((32, 32)),
                )
                yield await self._last(params, step, step.pictures) if step.pictures else step
            done = True
        finally:
            self.running -= 1
            (self.finished if done else self.abandoned).append(params)

    def look_again(
        self, alias: str, loras: Path | None, embeddings: Path | None, changed: Collection[str]
    ) -> None:
        """Note which of a model's add-ons changed."""
        del loras, embeddings
        self.looked_again.append((alias, frozenset(changed)))

    async def _last(self, params: Params, step: Step, pictures: tuple[Image.Image, ...]) -> Step:
        """Return the last step as it is given out; an engine of a test's own changes it here."""
        del params, pictures
        return step

    async def describe(self, model: str, picture: Image.Image, *, count: int = 4) -> list[str]:
        """Return prompts that have nothing to do with the picture."""
        del picture
        self._known(model)
        names = ("a red heart", "a blue fish", "a cat face", "a green tree")
        return [names[number % len(names)] for number in range(count)]

    async def count_tokens(self, params: Params) -> TokenCount | None:
        """Count words; a window holds five."""
        self._known(params.model)
        words = params.prompt.split()
        windows = max(1, -(-len(words) // 5))
        return TokenCount(tokens=len(words), windows=windows, later=" ".join(words[5:]))

    async def influence(self, model: str, prompt: str) -> tuple[Influence, ...]:
        """Let every word count by its length."""
        self._known(model)
        spans = words_of(prompt)
        letters = sum(end - start for start, end in spans)
        return tuple(
            Influence(prompt[start:end], start, end, (end - start) / letters)
            for start, end in spans
        )

    async def blend(
        self,
        model: str,
        pictures: Sequence[Image.Image],
        weights: Sequence[float] | None = None,
    ) -> Image.Image:
        """Mix pictures pixel by pixel, by their weights."""
        self._known(model)
        shares = weights or [1.0] * len(pictures)
        mixed, total = pictures[0].convert("RGB"), shares[0]
        for picture, share in zip(pictures[1:], shares[1:], strict=True):
            total += share
            mixed = Image.blend(mixed, picture.convert("RGB").resize(mixed.size), share / total)
        return mixed

    def _known(self, model: str) -> None:
        if model not in self.models:
            raise UnknownModelError(f"no model is called {model!r}")

    async def _wait(self, params: Params, index: int) -> None:
        for trouble in self._troubles:
            if trouble.times and trouble.step == index and trouble.word in params.prompt:
                trouble.times -= 1
                raise trouble.error()
        for gate in self._gates:
            if gate.step == index and gate.word in params.prompt and not gate.open.is_set():
                gate.held += 1
                gate.reached.set()
                await gate.open.wait()
