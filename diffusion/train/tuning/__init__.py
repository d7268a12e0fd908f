"""Teaching a model anybody's folder of captioned pictures: LoRA, textual inversion, all weights, or
from nothing.

`recipe` has the numbers, `subject` the model, `images` and `words` what is learned from; `lowrank`,
`inversion` and `full` are the three things that can be trained, `tune` trains any of them and
`autoencoder` the first stage. Nothing here knows the shipped model's data set.
"""
