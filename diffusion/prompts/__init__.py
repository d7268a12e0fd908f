"""What people write into a prompt, taken apart: loras, parts with weights, edits by step, emphasis.

Promises: pure functions without torch, linear in the length of the text. Brackets that do not parse
are literal text; ParamsError is raised only for what a person must mend: multi-prompt weights that
do not sum to more than 0, `AND` mixed with `::`, and unreadable LoRA tags. Never looks names up.
"""

from diffusion.prompts.editing import schedule
from diffusion.prompts.emphasis import BREAK, parse_emphasis
from diffusion.prompts.parts import (
    LoraTag,
    Part,
    Prompt,
    extract_loras,
    parse_prompt,
    split_and,
    split_parts,
)

__all__ = [
    "BREAK",
    "LoraTag",
    "Part",
    "Prompt",
    "extract_loras",
    "parse_emphasis",
    "parse_prompt",
    "schedule",
    "split_and",
    "split_parts",
]
