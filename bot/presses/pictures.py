"""Buttons that make new pictures of old ones: from the press to an accepted job, or to a modal.

Promises that the presser pays, that what a button shows is checked again from the database, and
that a press which makes nothing says why. What each button asks for stands in `bot.wishes`; what
is typed into its modal in `bot.presses.remix`.
"""

import secrets
from typing import Final

from bot import jobs, modals, texts, texts_pictures, wishes
from bot.acknowledging import thinking
from bot.answers import asked, say
from bot.jobs import Origin
from bot.permissions import Action
from bot.preferences import Name, preferred
from bot.services import Interaction, services_of
from bot.wishes import Desk, Wish
from storage import FINAL_STATES, Job, JobState, NewJob, Picture

# What opens a modal for everybody, and what does for people who like to remix.
ASKING: Final = frozenset({Action.ZOOM_CUSTOM, Action.REGION, Action.REMIX})
REMIXED: Final = frozenset(
    {
        Action.VARY,
        Action.VARY_SUBTLE,
        Action.VARY_STRONG,
        Action.REROLL,
        Action.ZOOM_15,
        Action.ZOOM_2,
        Action.LEFT,
        Action.RIGHT,
        Action.UP,
        Action.DOWN,
        Action.SQUARE,
    }
)
# What is about the whole job, so that its index names no picture.
WHOLE: Final = frozenset({Action.REROLL, Action.CONTINUE})
# What is made of the stored file alone: it works although the model is gone.
UNPAINTED: Final = frozenset({Action.UPSCALE, Action.SUBTLE_2X, Action.UP_4X})


async def press(interaction: Interaction, action: Action, job: Job, index: int) -> None:
    """Answer one of these buttons."""
    origin = await origin_of(interaction, action, job, index)
    if origin is None:
        return
    if action in ASKING or (action in REMIXED and await _remixes(interaction)):
        draft = jobs.draft_of(job)
        strength = await strength_of(interaction, action, job)
        await interaction.response.send_modal(modals.modal_for(action, origin, draft, strength))
        return
    wish = Wish(draft=jobs.draft_of(job), seed=secrets.randbits(32))
    if action is Action.VARY:
        wish = await _as_preferred(interaction, wish)
    await make(interaction, action, origin, wish)


async def make(interaction: Interaction, action: Action, origin: Origin, wish: Wish) -> None:
    """Accept the job that a wish asks for, or say why there is none."""
    services = services_of(interaction)
    model = services.models.get(wish.draft.params.model)
    desk = Desk(
        services=services, asked=asked(interaction), action=action, origin=origin, model=model
    )
    # Canvases are cut and encoded before the job is accepted, behind whatever else is encoded.
    reply = await thinking(interaction, wishes.fulfil(desk, wish))
    if isinstance(reply, NewJob):
        await services.intake.accept(interaction, [reply])
    else:
        await say(interaction, reply)


async def origin_of(
    interaction: Interaction, action: Action, job: Job, index: int
) -> Origin | None:
    """Return the picture that was pressed, or say why there is nothing to go on with."""
    services = services_of(interaction)
    if action not in UNPAINTED and job.model not in services.models:
        await say(interaction, texts.unknown_model(job.model))
        return None
    if action in WHOLE:
        return Origin(job=job, index=index, sha256="")
    if not 1 <= index <= job.images:
        await say(interaction, texts.unknown_job(f"{job.id}:{index}"))
        return None
    stored = await services.store.pictures(job.id)
    found = next((each for each in stored if each.index == index), None)
    if found is None:
        await say(interaction, _why_none(job, index, stored))
        return None
    return Origin(job=job, index=index, sha256=found.sha256)


def _why_none(job: Job, index: int, stored: list[Picture]) -> str:
    if job.state not in FINAL_STATES:
        return texts_pictures.not_begun()
    if stored:
        return texts_pictures.not_kept(index)
    if job.state is JobState.POSTED:
        return texts.picture_gone(index)
    return texts_pictures.no_pictures()


async def strength_of(interaction: Interaction, action: Action, job: Job) -> float | None:
    """Return the strength that a modal begins with; None where there is nothing to be near to."""
    match action:
        case Action.VARY_SUBTLE:
            return wishes.STRENGTHS["subtle"]
        case Action.VARY_STRONG:
            return wishes.STRENGTHS["strong"]
        case Action.VARY | Action.REMIX:
            return wishes.STRENGTHS[await _variation(interaction)]
        case Action.REGION:
            return wishes.REGION
        case Action.REROLL:
            params = jobs.draft_of(job).params
            return None if params.init_image is None else params.strength
        case _:
            return wishes.NEW_AREA


async def _as_preferred(interaction: Interaction, wish: Wish) -> Wish:
    strength = wishes.STRENGTHS[await _variation(interaction)]
    return Wish(draft=wish.draft, seed=wish.seed, strength=strength)


async def _variation(interaction: Interaction) -> str:
    return str(await _preference(interaction, Name.VARIATION))


async def _remixes(interaction: Interaction) -> bool:
    return bool(await _preference(interaction, Name.REMIX))


async def _preference(interaction: Interaction, name: Name) -> object:
    services = services_of(interaction)
    chosen = await preferred(
        services.store,
        services.settings(),
        services.models,
        user_id=interaction.user.id,
        channel_id=interaction.channel_id,
        guild_id=interaction.guild_id,
    )
    value: object = chosen[name]
    return value
