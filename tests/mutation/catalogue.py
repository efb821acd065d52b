"""The mutants: each takes one protection away, as a change of text, and names the tests that must then fail."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "mutants"


class Mutant(BaseModel):
    """`find` stands exactly once in `file`; `tests` are pytest node IDs that pass before and fail after."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=8, max_length=120)
    file: str
    find: str = Field(min_length=3)
    replace: str
    tests: list[str] = Field(min_length=1)

    def apply(self, root: Path) -> str:
        """Change the file below `root` and return its text before. Raises ValueError when `find` is not unique."""
        path = root / self.file
        text = path.read_text("utf-8")
        if text.count(self.find) != 1:
            raise ValueError(f"{self.name!r}: its text stands {text.count(self.find)} times in {self.file}, not once")
        if self.find == self.replace:
            raise ValueError(f"{self.name!r} changes nothing")
        path.write_text(text.replace(self.find, self.replace), "utf-8")
        return text


def load_mutants() -> list[Mutant]:
    """All mutants, by file name of their area and in its order. Raises ValueError for a name used twice."""
    lists = TypeAdapter(list[Mutant])
    found = [
        mutant
        for path in sorted(FOLDER.glob("*.yaml"))
        for mutant in lists.validate_python(yaml.safe_load(path.read_text("utf-8")))
    ]
    if twice := {mutant.name for mutant in found if [m.name for m in found].count(mutant.name) > 1}:
        raise ValueError(f"named twice: {sorted(twice)}")
    return found
