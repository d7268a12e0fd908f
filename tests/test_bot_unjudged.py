"""A checker that is missing, crashes or computes nonsense shows nothing; verdicts are kept."""

import json
import math
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from bot.config import parse_config
from bot.judged import UnjudgedError, check_verdicts, has_judge
from bot.playground import MessageRecord, PlayInteraction
from bot.worker import code_of
from diffusion import ModelInfo, NumericalError, Params, Step
from diffusion.safety import SafetyChecker
from storage import Job, JobKind, JobState, NewJob
from tests.bot_room import QUICK, Room, open_room, results
from tests.fakes import FakeEngine, model_info
from tests.test_diffusion_safety import CONFIG

Judge = Callable[[Sequence[Image.Image]], tuple[object, ...]]
SPEC = ["stable_diffusion", "StableDiffusionSafetyChecker"]
FAULTS = 200


def checker() -> SafetyChecker:
    """Make a small checker that objects to nothing."""
    torch.manual_seed(1)
    made = SafetyChecker(CONFIG).eval()
    for name in ("special_care_embeds_weights", "concept_embeds_weights"):
        made.get_parameter(name).data.fill_(2.0)
    return made


def spoiled(name: str, value: float) -> SafetyChecker:
    """Make a checker with one number that is none."""
    made = checker()
    made.get_parameter(name).data.view(-1)[0] = value
    return made


def crash(error: Exception) -> Judge:
    """Make a judge that raises."""

    def judge(pictures: Sequence[Image.Image]) -> tuple[object, ...]:
        del pictures
        raise error

    return judge


def real(made: SafetyChecker) -> Judge:
    """Ask a real checker."""
    return lambda pictures: tuple(made.check(pictures))


FAULTY: dict[str, Judge] = {
    "gone": lambda _: (),
    "one short": lambda pictures: (False,) * (len(pictures) - 1),
    "one more": lambda pictures: (False,) * (len(pictures) + 1),
    "nothing": lambda pictures: (None,) * len(pictures),
    "no number": lambda pictures: (math.nan,) * len(pictures),
    "crash": crash(RuntimeError("the checker crashed")),
    "memory": crash(MemoryError()),
    "file": crash(OSError("the checker's file cannot be read")),
    "key": crash(KeyError("vision_model")),
    "projection": real(spoiled("visual_projection.weight", math.nan)),
    "endless": real(spoiled("visual_projection.weight", math.inf)),
    "concept": real(spoiled("concept_embeds", math.nan)),
    "special": real(spoiled("special_care_embeds", math.nan)),
    "threshold": real(spoiled("concept_embeds_weights", math.nan)),
}


class JudgedEngine(FakeEngine):
    """Lets a judge look at what it painted, as the engine does."""

    def __init__(self) -> None:
        super().__init__()
        self.judge: Judge = real(checker())

    async def _last(self, params: Params, step: Step, pictures: tuple[Image.Image, ...]) -> Step:
        del params
        return replace(step, flagged=self.judge(pictures))  # type: ignore[arg-type]


def judged_model(folder: Path, listed: object = SPEC) -> ModelInfo:
    """Describe a model whose folder says that it has a checker."""
    folder.mkdir(exist_ok=True)
    index = {"safety_checker": listed}
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return replace(model_info(), path=str(folder))


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        opened.engine = JudgedEngine()
        yield opened


async def painted(room: Room, number: int) -> Job:
    """Let the worker run a job to its end, without anybody typing it."""
    services, params = room.app.services, Params(prompt="x", width=16, height=16, steps=1)
    new = NewJob(
        kind=JobKind.IMAGINE,
        params=params.to_json(),
        prompt="x",
        images=4,
        model="emoji",
        requester_id=room.pg.people["alice"].id,
        guild_id=room.pg.guild_id,
        channel_id=room.pg.channel_id,
        interaction_id=number,
    )
    job = (await services.store.enqueue(new)).job
    services.intake.put(job)
    while job.state in (JobState.QUEUED, JobState.RUNNING):
        services.poster.changed.clear()
        await services.poster.changed.wait()
        found = await services.store.job(job.id)
        assert found is not None
        job = found
    return job


async def shown(room: Room, ix: PlayInteraction) -> MessageRecord:
    """Wait for a picture, be it behind a spoiler."""
    return await room.shown(
        ix, lambda found: any("easel-" in each["filename"] for each in found.attachments)
    )


async def test_two_hundred_faults_show_nothing(room: Room, tmp_path: Path) -> None:
    engine, chance = room.engine, random.Random(7)  # noqa: S311
    assert isinstance(engine, JudgedEngine)
    models = {"emoji": judged_model(tmp_path / "model")}
    healthy, names = [], list(FAULTY)
    async with room.bot(models=models) as app:
        for number in range(FAULTS):
            policy = ("block", "spoiler", "restricted")[number % 3]
            text = f'{QUICK}[moderation]\nunsafe = "{policy}"\n'
            app.apply_config(parse_config(text, tmp_path / "config.toml"))
            engine.judge = FAULTY[names[number % len(names)]]
            job = await painted(room, 1 + number)
            assert job.state is JobState.FAILED, (names[number % len(names)], policy)
            assert await app.services.store.pictures(job.id) == []
            if chance.random() < 0.05:
                engine.judge = real(checker())
                healthy.append(await painted(room, 10_000 + number))
        await room.settled(app)
        assert len(results(room.pg.ledger)) == len(healthy) > 3
        for job in healthy:
            types = {each.media_type for each in await app.services.store.pictures(job.id)}
            assert types == {"image/png; flagged=no"}
        assert (await app.services.store.counts()).failed == FAULTS
    told = [each.content for each in room.pg.ledger.messages.values() if not each.attachments]
    assert sum("gave no verdict, so its pictures are not shown" in each for each in told) > 50


@pytest.mark.parametrize(
    ("unsafe", "grid", "good", "bad"),
    [
        ("block", "withheld", "no", "withheld"),
        ("spoiler", "yes", "no", "yes"),
        ("restricted", "withheld", "no", "withheld"),
        ("allow", "allowed", "no", "allowed"),
    ],
)
async def test_every_posted_picture_has_its_verdict(
    room: Room, tmp_path: Path, unsafe: str, grid: str, good: str, bad: str
) -> None:
    engine = room.engine
    assert isinstance(engine, JudgedEngine)
    engine.judge = lambda pictures: tuple(number == 1 for number in range(len(pictures)))
    text = f'{QUICK}[moderation]\nunsafe = "{unsafe}"\n'
    async with room.bot(text, models={"emoji": judged_model(tmp_path / "model")}) as app:
        message = await shown(room, await room.imagine("alice", "a red heart --video"))
        single = await shown(room, await room.press("bob", message, "upscale", 1))
        other = await shown(room, await room.press("bob", message, "upscale", 2))
        await room.settled(app)
        store = app.services.store
        words = []
        for one in (message, single, other):
            job_id = one.custom_ids[0].split(":")[2]
            kept = await store.pictures(job_id)
            words.append({each.index: each.media_type.partition("flagged=")[2] for each in kept})
    whole, first, second = words
    assert [whole[index] for index in range(5)] == [grid, good, bad, good, good]
    assert set(first.values()) == {good}
    assert set(second.values()) == {bad}
    # A film shows how black pictures came about, so there is none beside them.
    assert (36 in whole) is (unsafe in ("spoiler", "allow"))


async def test_who_allows_everything_needs_no_verdict(room: Room, tmp_path: Path) -> None:
    engine = room.engine
    assert isinstance(engine, JudgedEngine)
    engine.judge = FAULTY["gone"]
    text = f'{QUICK}[moderation]\nunsafe = "allow"\n'
    async with room.bot(text, models={"emoji": judged_model(tmp_path / "model")}):
        await room.grid("alice", "a red heart")


@pytest.mark.parametrize(
    ("listed", "folder", "expected"),
    [
        (SPEC, False, True),
        (SPEC, True, True),
        ([None, None], True, False),
        (None, True, False),
        ("absent", True, True),
        ("absent", False, False),
    ],
)
def test_a_model_has_a_judge_where_it_lists_one(
    tmp_path: Path, listed: object, folder: bool, expected: bool
) -> None:
    info = judged_model(tmp_path, listed)
    if listed == "absent":
        (tmp_path / "model_index.json").write_text("{}", encoding="utf-8")
    if folder:
        (tmp_path / "safety_checker").mkdir()
    assert has_judge(info) is expected


def test_a_model_of_one_file_has_no_judge(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"x")
    assert not has_judge(replace(model_info(), path=str(file)))


def test_what_is_no_verdict_is_refused() -> None:
    pictures = (Image.new("RGB", (8, 8)),) * 2

    def step(*flagged: object) -> Step:
        return Step(
            index=1,
            total=1,
            pictures=pictures,
            flagged=flagged,  # type: ignore[arg-type]
            draw_preview=lambda: pictures[0],
        )

    check_verdicts(step(True, False), expected=True)
    check_verdicts(step(), expected=False)
    for wrong in (step(True), step(None, None), step(False, False, False)):
        with pytest.raises(UnjudgedError, match="2 pictures have the verdicts"):
            check_verdicts(wrong, expected=False)
    with pytest.raises(UnjudgedError, match="no verdict"):
        check_verdicts(step(), expected=True)
    assert code_of(UnjudgedError()) == "unjudged"


@pytest.mark.parametrize("name", ["concept_embeds_weights", "special_care_embeds_weights"])
def test_numbers_that_are_none_are_no_verdict(name: str) -> None:
    with pytest.raises(NumericalError, match="not finite"):
        spoiled(name, math.nan).check([Image.new("RGB", (32, 32))])
    assert checker().check([Image.new("RGB", (32, 32))]) == [False]
