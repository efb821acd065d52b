"""Skill files and curated recipes. Data, not code."""
