"""Faults by the hundred: the suites C1 to C21, run by `python -m tests.chaos`.

Every suite lets the real bot meet one kind of fault many times over and compares what a person at
the playground saw with what the database says. `commit` runs the figures that CI affords, `night`
the whole ones; each suite prints one line of JSON, and `--record` keeps it.
"""
