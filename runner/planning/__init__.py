"""From an intent and a profile to a typed plan: grid, time, cost, budget, grants. No I/O except the catalogue."""
