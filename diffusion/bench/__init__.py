"""What Easel's speed is measured by: solo, load, rows, tick, switch, one module each.

Promises: every figure is a ratio taken in one run, with the sides in turn, as a median and a range;
diffusers, the peer, is a development dependency that only `peer` and `peer_files` ever import, when
a measurement asks for it. Judges nothing, and is never imported by the engine.
"""
