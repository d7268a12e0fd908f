"""The error for a flag that this server or its models cannot honour."""

from bot.prompt import ParsedPrompt, PromptError
from bot.prompt.mend import splice


def refuse(parsed: ParsedPrompt, flag: str, message: str, meant: str | None) -> PromptError:
    """Make the error for a flag's value; the mended text has the value meant, or no such flag.

    A flag that was not typed has no place, and nothing to mend.
    """
    span = parsed.spans.get(flag)
    if span is None:
        return PromptError(message, text=parsed.text, start=0, end=len(parsed.text))
    if meant is None:
        mended = splice(parsed.text, span.flag, span.end, "")
    else:
        mended = splice(parsed.text, span.start, span.end, meant)
    return PromptError(
        message, text=parsed.text, start=min(span.start, span.end), end=span.end, suggestion=mended
    )
