"""Samplers, each written as in its paper: a coroutine that yields where it needs the network.

It yields (x, sigma) and is sent the denoised estimate of x at that noise level. x = x0 + sigma eps;
sigmas decrease; `noise` draws what standard normal noise is needed. Promises: the numbers beside x
live on the host, so no device is waited for; a sampler knows nothing of batches, guidance or
prompts, and touches x only by sums and multiples: every one is a linear map of latents, estimates
and noise, and runs on anything that can be added and scaled (`trace` runs it on symbols).
"""

from diffusion.samplers.coroutine import Linear, Noise, Sampling, Start, X
from diffusion.samplers.registry import SAMPLERS, Sampler
from diffusion.samplers.tables import Table, TableError, compile_table
from diffusion.samplers.tracing import Form, Question, Trace, trace

__all__ = [
    "SAMPLERS",
    "Form",
    "Linear",
    "Noise",
    "Question",
    "Sampler",
    "Sampling",
    "Start",
    "Table",
    "TableError",
    "Trace",
    "X",
    "compile_table",
    "trace",
]
