"""The prompt grammar: one text becomes words and flags, or an error that shows how to mend it.

`parse` is total: any string gives a `ParsedPrompt` or raises `PromptError`, never another
exception, and nothing a person typed is ever dropped in silence. It is pure: it reads no
configuration, knows no model and draws no seed; `bot.resolve` does that.

What the grammar is today: words first, then flags (`FLAGS` lists them). Multi-prompts (`a::2 b`),
permutations and wildcards (`{red, green}`, `{a|b}`) and weights (`(a:1.3)`, `[a:b:0.5]`) are NOT
read: such signs are plain text and reach the text encoder as they were typed. Flags of Midjourney
and A1111 that this version lacks (`LATER`) are answered with a sentence, never ignored.
"""

from bot.prompt.errors import PromptError
from bot.prompt.flags import FLAGS, LATER, QUALITIES, Flag, Kind, Later
from bot.prompt.parsed import Aspect, ParsedPrompt, Span
from bot.prompt.parser import parse
from bot.prompt.samplers import SamplerName, sampler_choices

__all__ = [
    "FLAGS",
    "LATER",
    "QUALITIES",
    "Aspect",
    "Flag",
    "Kind",
    "Later",
    "ParsedPrompt",
    "PromptError",
    "SamplerName",
    "Span",
    "parse",
    "sampler_choices",
]
