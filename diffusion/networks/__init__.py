"""The networks of latent diffusion in plain PyTorch.

Promises: module names are those of the original CompVis / Stability files, so a single-file
checkpoint loads by name alone, and every size is a number in a frozen configuration. Never knows a
prompt, a sampler or a file.
"""
