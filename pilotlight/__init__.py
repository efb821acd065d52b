"""The shared base: settings, errors, names, money, the typed plan. Imports nothing else of ours."""

__version__ = "0.1.0"
