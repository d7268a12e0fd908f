"""One prompt with its params, for commands that have room for no more.

Promises the same reading as /imagine has (settings, suffix, options, limits), and a sentence where
a text cannot be read or stands for several prompts.
"""

from bot import limits, texts, texts_ideas
from bot.acknowledging import thinking
from bot.answers import say
from bot.prompt import PromptError
from bot.reading import Typed, read_plan
from bot.resolve import Run
from bot.services import Interaction


async def single_run(interaction: Interaction, text: str, model: str | None = None) -> Run | None:
    """Return the one run that a text asks for; None when its fault was answered."""
    try:
        plan = await thinking(interaction, read_plan(interaction, Typed(text=text, model=model)))
    except PromptError as error:
        await say(interaction, texts.prompt_error(error))
        return None
    if isinstance(plan, limits.Refusal):
        await say(interaction, plan.text)
        return None
    if len(plan.runs) > 1:
        await say(interaction, texts_ideas.only_one_prompt())
        return None
    return plan.runs[0]
