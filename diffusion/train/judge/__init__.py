"""The judge that measures the generator, with its trained weights beside the code.

`measure` asks it, `network` is what it is made of, `train` makes it again. The files judge.json and
judge.safetensors are what `Judge.load()` reads.
"""

from diffusion.train.judge.measure import Judge, JudgeError, Score, judge_names

__all__ = ["Judge", "JudgeError", "Score", "judge_names"]
