"""How the shipped model was made: data set, autoencoder, denoiser, judge.

Promises: every part is one resumable command with its own clock. Never imported by the engine or
the bot at run time.
"""
