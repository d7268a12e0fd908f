"""/lineage: what a picture was made from, and what was made from it, as a tree with links."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from discord import app_commands

from bot import texts, texts_discord, texts_lineage, texts_people
from bot.answers import say
from bot.commands.show import complete_job, find
from bot.seeing import may_see
from bot.services import Interaction, services_of
from bot.texts_lineage import Leaf
from storage import Job

MOST_ABOVE: Final = 50
MOST_BELOW: Final = 200


def lineage() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="lineage", description=texts_people.COMMANDS["lineage"])
    @app_commands.describe(job=texts.OPTIONS["job"])
    async def run(interaction: Interaction, job: app_commands.Range[str, 1, 200]) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        services = services_of(interaction)
        found = await find(services, job.strip())
        if found is None or not may_see(interaction, found):
            await say(interaction, texts.unknown_job(job))
            return
        above = await services.store.ancestors(found.id, limit=MOST_ABOVE)
        below = await services.store.descendants(found.id, limit=MOST_BELOW)
        await say(interaction, texts_lineage.tree(list(_tree(interaction, found, above, below))))

    run.autocomplete("job")(complete_job)
    return run


def _tree(
    interaction: Interaction, job: Job, above: Sequence[Job], below: Sequence[Job]
) -> Iterator[Leaf]:
    """Yield the tree from its root: the line down to the job, then all that came of it."""
    children: Mapping[str, list[Job]] = defaultdict(list)
    for each in below:
        children[each.parent_id or ""].append(each)
    line = [*reversed(above), job]
    for depth, each in enumerate(line):
        yield _leaf(interaction, each, guides=(False,) * depth, is_this=each is job)
    yield from _below(interaction, children, job.id, (False,) * (len(line) - 1))


def _below(
    interaction: Interaction,
    children: Mapping[str, list[Job]],
    root: str,
    guides: tuple[bool, ...],
) -> Iterator[Leaf]:
    """Yield what came of a job, depth first. A long line of variations is deep: no recursion."""
    waiting = [(child, guides) for child in reversed(children.get(root, []))]
    last = {siblings[-1].id for siblings in children.values() if siblings}
    while waiting:
        each, above = waiting.pop()
        is_last = each.id in last
        own = (*above, not is_last)
        yield _leaf(interaction, each, guides=own, is_this=False)
        waiting += [(child, own) for child in reversed(children.get(each.id, []))]


def _leaf(interaction: Interaction, job: Job, *, guides: tuple[bool, ...], is_this: bool) -> Leaf:
    """Say what the reader may know of a job: of a foreign one, that it is there."""
    if not may_see(interaction, job):
        return Leaf(guides=guides)
    return Leaf(
        guides=guides,
        is_this=is_this,
        job_id=job.id,
        kind=job.kind,
        index=job.parent_index,
        state="deleted" if job.deleted_at is not None else job.state,
        created_at=job.created_at,
        prompt=job.prompt,
        link=None if job.deleted_at is not None else texts_discord.link(job),
    )
