"""The oracle: what people saw at the playground, against what the database says.

Promises to find a job that was accepted and never shown, one that was shown twice, pictures of
another seed, and a job that ended in any way but the one that was due.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from bot.playground import InteractionState, MessageRecord, Playground
from diffusion import Params
from storage import Job, JobState, StorageError, Store
from storage.files import PictureFiles
from tests.bot_desk import results
from tests.chaos.bots import whole_table
from tests.chaos.suite import Run
from tests.fakes import colour
from tests.pixels import tile_colours


def shown(pg: Playground) -> dict[str, list[MessageRecord]]:
    """Return every message that shows finished pictures now, by the job they belong to."""
    found: dict[str, list[MessageRecord]] = {}
    for record in results(pg, ""):
        name = str(record.attachments[0]["filename"])
        found.setdefault(name.removeprefix("easel-")[:13], []).append(record)
    return found


async def examined(run: Run, folder: Path) -> list[Job]:
    """Open the store of a bot that has ended, as a start does, and return its jobs.

    Every row must be as it was written, every picture that a row names must be there and whole, and
    no file may be there that no row names.
    """
    store = await Store.open(folder / "data")
    try:
        await store.check()
        jobs = await whole_table(store)
        named = set[str]()
        for job in jobs:
            for picture in await store.pictures(job.id):
                named.add(picture.sha256)
                await store.read_picture(picture)
    except StorageError as error:
        run.add("damaged")
        run.failures.append(str(error))
        return []
    finally:
        await store.close()
    strange = set(PictureFiles(folder / "data" / "pictures").stored()) - named
    run.must(not strange, f"files that no row names: {sorted(strange)[:3]}")
    run.figures.setdefault("damaged", 0)
    return jobs


async def judge(
    run: Run,
    pg: Playground,
    jobs: Iterable[Job],
    *,
    ends: Mapping[str, JobState] | None = None,
) -> None:
    """Compare all jobs with all messages, and note what does not fit.

    Every job must be posted, exactly once and with the pictures of its seed, but for those whose
    end is given. An interaction that was acknowledged must have its job.
    """
    given, messages = ends or {}, shown(pg)
    by_interaction = set()
    for job in jobs:
        run.add("jobs")
        by_interaction.add(job.interaction_id)
        due = given.get(job.id, JobState.POSTED)
        here = messages.pop(job.id, [])
        if job.deleted_at is not None and job.state is due:
            # Its message goes last: it may still be there where the deleting broke off.
            run.must(len(here) <= 1, f"job {job.id} is deleted and shown {len(here)} times")
            continue
        if job.state is not due:
            run.add("lost")
            run.failures.append(f"job {job.id} is {job.state}, not {due}")
            continue
        if due is not JobState.POSTED:
            run.must(not here, f"job {job.id} is {due} and shows pictures")
            continue
        if len(here) != 1:
            run.add("lost" if not here else "doubled")
            run.failures.append(f"job {job.id} is shown {len(here)} times")
            continue
        run.must(here[0].id == job.post_message_id, f"job {job.id} names another message")
        await _look(run, pg, job, here[0])
    for job_id in messages:
        run.failures.append(f"a message shows pictures of {job_id}, which no job has")
    for asked in pg.ledger.interactions.values():
        promised = asked.state is InteractionState.ACKNOWLEDGED and asked.type == 2
        if promised and asked.id not in by_interaction and _accepted(pg, asked.message_id):
            run.add("lost")
            run.failures.append(f"interaction {asked.id} was accepted and has no job")
    for name in ("lost", "doubled", "wrong pictures"):
        run.figures.setdefault(name, 0)


async def _look(run: Run, pg: Playground, job: Job, message: MessageRecord) -> None:
    params = Params.from_json(job.params)
    seed = params.seed
    colours = tile_colours(await pg.read_attachment(message.attachments[0]))
    if colours != [colour(seed + number, params.init_image) for number in range(4)]:
        run.add("wrong pictures")
        run.failures.append(f"job {job.id} shows other pictures than those of seed {seed}")


def _accepted(pg: Playground, message_id: int | None) -> bool:
    """Tell whether an answer said that a job waits; a refusal is ephemeral and makes none."""
    message = pg.ledger.messages.get(message_id or 0)
    return message is not None and not message.ephemeral
