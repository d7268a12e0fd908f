"""The describer: trained on the drawings that the denoiser may see, and measured on the others.

`lesson` says which drawings those are, `augment` makes pictures of them, `training` is the run,
`file` what ships, `measure` the honest table. What the model's judge is has no part in any of it.
"""
