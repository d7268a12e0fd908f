"""The prompt grammar: one text becomes words and flags, or an error that shows how to mend it.

`parse` is total: any string gives a `ParsedPrompt` or raises `PromptError`, never another
exception, and nothing a person typed is ever dropped in silence. It is pure: it reads no
configuration, knows no model and draws no seed; `bot.resolve` does that.

What happens to a text, in this order, each step a function of its own:

1. `expand_macros` puts a person's own `--name` options in place, `with_flags` their suffix;
2. `expand` makes several prompts of `{red, green} bird`;
3. `parse` reads one of them: words first, then flags (`FLAGS` lists them). In the words, braces,
   `__lists__`, weights (`(a:1.3)`, `[a:b:0.5]`), `a::2 b`, `AND` and `<lora:name>` are plain text;
4. `draw` replaces `{a|b}` and `__list__` in the words, by the seed;
5. weights, parts and LoRA tags reach the engine as they were typed (`diffusion.prompts`).

Flags of Midjourney and A1111 that this version lacks (`LATER`) are answered with a sentence.
"""

from bot.prompt.draw import Lists, draw, escaped
from bot.prompt.errors import PromptError
from bot.prompt.expand import HARD_CAP, expand
from bot.prompt.flags import FLAGS, LATER, QUALITIES, Flag, Kind, Later
from bot.prompt.macros import carried, expand_macros, with_flags, without_flags
from bot.prompt.parsed import Aspect, ParsedPrompt, Span
from bot.prompt.parser import parse
from bot.prompt.printing import to_text
from bot.prompt.samplers import SamplerName, sampler_choices

__all__ = [
    "FLAGS",
    "HARD_CAP",
    "LATER",
    "QUALITIES",
    "Aspect",
    "Flag",
    "Kind",
    "Later",
    "Lists",
    "ParsedPrompt",
    "PromptError",
    "SamplerName",
    "Span",
    "carried",
    "draw",
    "escaped",
    "expand",
    "expand_macros",
    "parse",
    "sampler_choices",
    "to_text",
    "with_flags",
    "without_flags",
]
