"""Modules that were imported from folders of the host, made to look as if imported from where a sandbox shows them.

A runner imports more while it works, and reads files that belong to packages: by the names that are valid inside.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

_PREFIXES = ("prefix", "exec_prefix", "base_prefix", "base_exec_prefix", "executable", "_base_executable")


class Naming:
    """A function from paths of the host to paths inside; those that are not bound stay as they are."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = sorted(names.items(), key=lambda pair: len(pair[0]), reverse=True)

    def __call__(self, path: str) -> str:
        """The path inside."""
        for outside, inside in self._names:
            if path == outside or path.startswith(f"{outside}/"):
                return inside + path[len(outside) :]
        return path


def rename_modules(naming: Naming, paths: Sequence[str]) -> None:
    """Rename all that is imported; modules are found in the standard library and in `paths` from now on."""
    own = len(sys.path) - len(paths)
    sys.path[:] = [*(naming(path) for path in sys.path[:own]), *paths]
    for name in _PREFIXES:
        setattr(sys, name, naming(getattr(sys, name)))
    sys.path_importer_cache.clear()
    for module in list(sys.modules.values()):
        _rename(module, naming)


def _rename(module: ModuleType, naming: Naming) -> None:
    values = vars(module)
    for name, value in list(values.items()):
        if (renamed := _translate(value, naming)) is not value:
            values[name] = renamed
    if type(path := values.get("__path__")) is list:  # a namespace package finds its own path anew
        path[:] = [naming(part) for part in path]
    if spec := values.get("__spec__"):
        spec.origin, spec.cached = _translate(spec.origin, naming), _translate(spec.cached, naming)
        if isinstance(spec.loader, SourceFileLoader | ExtensionFileLoader):
            spec.loader.path = naming(spec.loader.path)


def _translate(value: Any, naming: Naming) -> Any:
    if type(value) is str:
        return naming(value) if value.startswith("/") else value
    if isinstance(value, PurePath) and value.is_absolute():
        renamed = naming(str(value))
        return value if renamed == str(value) else Path(renamed)
    return value
