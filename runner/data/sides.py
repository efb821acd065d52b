"""The three datasets of a plan: training side, its subsample for the sweep, held-out side. Files in data/."""

from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pilotlight.errors import FailedPrecondition
from runner.calls import external_id
from runner.data.profile import Profile, estimate_tokens
from runner.data.rows import answer_of, chat_of, prompt_of, read_lines
from runner.data.split import HELDOUT_SHARE, choose_heldout, choose_sample, write_rows
from runner.planning.recipe import DataSide
from runner.workspace import Workspace

LEAST_ROWS = 3
"""The platform takes no dataset of fewer rows [P24]."""


class Source(NamedTuple):
    """A staged dataset: resource name, file, and profile."""

    name: str
    path: Path
    profile: Profile


class Sides(NamedTuple):
    """What a plan trains and scores on."""

    train: DataSide
    sample: DataSide
    heldout: DataSide


def make_sides(
    workspace: Workspace,
    prefix: tuple[str, str],
    source: Source,
    evaluation: Source | None,
    sample_rows: int,
    train_fraction: float | None,
) -> Sides:
    """Write the files and describe them. `prefix` is (account, session), for the names of new datasets.

    Raises FailedPrecondition when a side would have fewer than 3 rows.
    """
    train_at, heldout_at = divide(source, evaluation, train_fraction)
    check_size(len(train_at), len(heldout_at) if evaluation is None else evaluation.profile.usable)
    maker = SideMaker(workspace, prefix, source)
    whole = evaluation is not None and len(train_at) == source.profile.rows and not source.profile.conversions
    train = maker.reuse(source) if whole else maker.make("train", train_at)
    sample = train
    if len(train_at) > sample_rows:
        chosen = choose_sample(len(train_at), sample_rows)
        sample = maker.make("sample", [at for place, at in enumerate(train_at) if place in chosen])
    heldout = maker.make("heldout", heldout_at) if evaluation is None else maker.reuse(evaluation)
    return Sides(train, sample, heldout)


def leaked_rows(source: Profile, evaluation: Profile) -> list[int]:
    """Positions of training rows whose text also occurs in the evaluation dataset."""
    known = set(evaluation.groups)
    return [at for at, key in enumerate(source.groups) if key in known]


def divide(source: Source, evaluation: Source | None, fraction: float | None) -> tuple[list[int], list[int]]:
    """Positions of the rows to train on and, without an evaluation dataset, of those that are held out."""
    profile = source.profile
    if evaluation is not None:
        leaked = set(leaked_rows(profile, evaluation.profile))
        return [at for at in range(profile.usable) if at not in leaked], []
    share = HELDOUT_SHARE if fraction is None else 1 - fraction
    chosen = choose_heldout(profile.groups, share)
    inside = [key in chosen for key in profile.groups]
    return [at for at, held in enumerate(inside) if not held], [at for at, held in enumerate(inside) if held]


def check_size(train: int, heldout: int) -> None:
    """Raise FailedPrecondition when a side is too small."""
    if train < LEAST_ROWS or heldout < LEAST_ROWS:
        raise FailedPrecondition(
            f"There are too few rows: {train} to train on and {heldout} to evaluate on; each needs {LEAST_ROWS}.",
            hint="Give a larger dataset, or name an evaluation dataset of its own.",
        )


class SideMaker:
    """Names the files of the sides and describes them."""

    def __init__(self, workspace: Workspace, prefix: tuple[str, str], source: Source) -> None:
        self._workspace, self._source = workspace, source
        self._account, self._session = prefix

    def make(self, role: str, positions: Sequence[int]) -> DataSide:
        """A side of these usable rows."""
        path = self._workspace.data / f"{role}.jsonl"
        profile = self._source.profile
        digest = write_rows(self._source.path, (profile.lines[at] for at in positions), path)
        return self.keep(role, path, digest, len(positions), sum(profile.tokens[at] for at in positions))

    def keep(self, role: str, path: Path, digest: str, rows: int, tokens: int) -> DataSide:
        """A side of a file that was just written; its name tells the content."""
        step = self._step(role, digest)
        kept = path.with_name(f"{step}.jsonl")
        path.replace(kept)
        name = f"accounts/{self._account}/datasets/{external_id(self._session, step)}"
        return describe_side(name, kept, digest, rows, tokens)

    def reuse(self, source: Source) -> DataSide:
        """The dataset itself, where nothing has to be made."""
        side = describe_side(source.name, source.path, "", source.profile.usable, source.profile.total_tokens)
        return side.model_copy(update={"file": None})

    def _step(self, role: str, digest: str) -> str:
        """`train` for the first content of that role, `train-2` for another one: a name never changes its content."""
        names: dict[str, str] = self._workspace.read_json("state/datasets.json", {})
        if digest not in names:
            used = sum(name.split("-")[0] == role for name in names.values())
            names[digest] = role if not used else f"{role}-{used + 1}"
            self._workspace.write_json("state/datasets.json", names)
        return names[digest]


def describe_side(name: str, path: Path, digest: str, rows: int, tokens: int) -> DataSide:
    """A side of the rows at `path`, which train on so many rough tokens."""
    answers, prompts = array("I"), 0
    for line in read_lines(path):
        row = chat_of(line.value or {})
        answers.append(estimate_tokens([{"content": answer_of(row) or ""}]))
        prompts += estimate_tokens(prompt_of(row))
    return DataSide(
        name=name,
        file=path.name,
        digest=digest,
        rows=rows,
        tokens=tokens,
        longest_answer_tokens=max(answers, default=1),
        mean_prompt_tokens=prompts // max(len(answers), 1),
        mean_answer_tokens=sum(answers) // max(len(answers), 1),
    )
