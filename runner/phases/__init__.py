"""The seven phases, one module each: `run(turn, state) -> Command`, safe to run again after a crash."""
