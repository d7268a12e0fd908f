"""C8: the device runs out of memory at some step of a job, or while its pictures are decoded.

Each time that job alone must fail, with a sentence for who asked, and the next one must succeed.
How the engine makes batches and tiles smaller first is a matter of its own tests.
"""

from bot import texts_discord
from bot.playground import MessageRecord
from diffusion import OutOfMemoryError
from storage import JobState
from tests.bot_room import Room, open_room
from tests.chaos.bots import whole_table
from tests.chaos.oracle import examined, judge
from tests.chaos.suite import Run, Suite

STEPS = 4
# People whose jobs are looked at together.
ROUND = 25
SETTINGS = "[storage]\nmin_free_gib = 0\n"


async def run(run: Run) -> None:
    """Fail at the first step, the second, … the last, which decodes; then from the beginning."""
    for number in range(-(-run.count // ROUND)):
        folder = run.folder / str(number)
        async with open_room(folder) as room:
            await _round(run, room, min(ROUND, run.count - run.done))


async def _round(run: Run, room: Room, count: int) -> None:
    failed: set[int] = set()
    async with room.bot(SETTINGS) as app:
        for number in range(count):
            step = run.done % STEPS + 1
            word = f"large{number}"
            room.engine.fail(lambda: OutOfMemoryError("no room"), step=step, word=word)
            asked = await room.imagine("alice", f"a {word} --seed {number} --steps {STEPS}")
            failed.add(asked.id)
            answer = await room.shown(asked, lambda message: _is_end(message))
            job = next(
                each
                for each in await whole_table(app.services.store)
                if each.interaction_id == asked.id
            )
            sentence = texts_discord.failure("memory", job)
            run.must(sentence in answer.content, f"of step {step} was said: {answer.content[:200]}")
            run.must(job.error_code == "memory", f"the job failed as {job.error_code}")
            await room.grid("bob", f"a fox --seed {number} --steps {STEPS}")
            run.add("jobs after it that succeeded")
            run.passed()
        run.must(not room.engine.running, "the device is not free after all jobs have ended")
    jobs = await examined(run, room.folder)
    ends = {job.id: JobState.FAILED for job in jobs if job.interaction_id in failed}
    await judge(run, room.pg, jobs, ends=ends)


def _is_end(message: MessageRecord) -> bool:
    """Tell whether a message has no Cancel button any more: its job has ended."""
    return not any(each.startswith("v1:cancel:") for each in message.custom_ids)


SUITE = Suite(
    name="C8", about="out of memory at step n and in decoding", commit=50, night=200, run=run
)
