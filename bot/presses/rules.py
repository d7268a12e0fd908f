"""Who may press what: the same answer for buttons and for the modals that they open."""

from bot import texts, texts_pictures
from bot.answers import say, verdict
from bot.language import tr
from bot.permissions import PAINTING, Action, Verdict
from bot.services import Interaction
from storage import Job


async def allowed(interaction: Interaction, action: Action, job: Job) -> bool:
    """Say whether this person may do this to this job here and now; else tell them why not."""
    match verdict(interaction, action, job):
        case Verdict.FOREIGN:
            await say(interaction, texts.unknown_job(job.id))
        case Verdict.NOT_YOURS:
            await say(interaction, texts.not_yours(tr(texts_pictures.DOING[action])))
        case Verdict.YES if job.deleted_at is not None and action in PAINTING:
            await say(interaction, texts.deleted_job())
        case Verdict.YES:
            return True
    return False
