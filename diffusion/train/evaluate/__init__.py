"""The honest table about a model: what it was asked, what it painted, what chance would give.

`evaluate` does it all; `asks` holds the prompts, `measures` and `likeness` the measures, `table`
and `sheet` what is written. Promises: prompts, seeds and intervals fixed by one seed; beside every
figure of the model the same measure on pictures for other prompts, on real drawings and on their
reconstructions. Never: a figure that training sees, or a picture chosen because it looks good.
"""

from diffusion.train.evaluate.evaluation import Evaluation, EvaluationError, Sizes, evaluate
from diffusion.train.evaluate.sheet import save_sheet
from diffusion.train.evaluate.table import Line, Report, to_json, to_markdown

__all__ = [
    "Evaluation",
    "EvaluationError",
    "Line",
    "Report",
    "Sizes",
    "evaluate",
    "save_sheet",
    "to_json",
    "to_markdown",
]
