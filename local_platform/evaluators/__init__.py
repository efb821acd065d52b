"""The evaluators resource: created, its source uploaded, built, then ready to score."""
