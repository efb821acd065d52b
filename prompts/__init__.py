"""Jinja templates: what the user is shown and what the planner model is told. Data, rendered strictly."""
