"""Whose jobs a reader may see: one question with one answer for every list, tree and card.

Promises that a private job is shown to its requester alone, and that of a job of another server or
of somebody's direct messages nobody else learns anything. Decides by the row in the store and by
the interaction, never by what a button says.
"""

from bot.answers import verdict
from bot.jobs import details_of
from bot.permissions import Action, Verdict
from bot.services import Interaction
from storage import Job


def may_see(interaction: Interaction, job: Job) -> bool:
    """Say whether this person may learn about this job here."""
    if verdict(interaction, Action.SHOW, job) is not Verdict.YES:
        return False
    return job.requester_id == interaction.user.id or not is_private(job)


def is_private(job: Job) -> bool:
    """Say whether a job was asked for in private."""
    return details_of(job).get("private") is True
