"""Denoising diffusion in pixel space, the simplest complete system (Ho, Jain & Abbeel 2020).

`pictures` makes the set, `training` is Algorithm 1, `folder` writes the network as hub folders have
it, `sheet` shows what it paints by Algorithm 2, which is `diffusion.samplers.single.ddpm`.
"""
