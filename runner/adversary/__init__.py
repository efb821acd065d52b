"""A planner that does not plan: it calls anything with anything through its socket, driven by a seed.

`python -m runner.adversary` takes the place of `runner.main` in a test of the ceiling. It is standard library only, so
that a turn of it starts in milliseconds, and harmless when it succeeds: all that it can reach is its socket.
"""
