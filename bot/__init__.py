"""The Discord side of Easel: commands, configuration, the prompt grammar and the life of a job.

Promises that every sentence a user reads and every rule about who may do what lives in here; never
makes a picture itself (`diffusion` does) and never touches the database (`storage` does).
"""
