"""The source of an evaluator as one file: a small `.tar.gz` of text files, written the same each time, read strictly.

Whoever wrote an archive is not trusted: it is read in memory, member by member, and nothing is extracted to a disk.
"""

import gzip
import io
import tarfile
import zlib
from pathlib import PurePosixPath

from pilotlight.archive.names import fault_of
from pilotlight.errors import InvalidArgument

MOST_FILES, MOST_BYTES, _DEPTH = 200, 4 << 20, 8
ARCHIVE = "source.tar.gz"
REQUIREMENTS = "requirements.txt"


def pack(files: dict[str, str]) -> bytes:
    """The archive of these files (path -> text); equal files give equal bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(files):
            content = files[name].encode()
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


def unpack(data: bytes) -> dict[str, str]:
    """The text files of an archive by path; folders, and files that Python and Git write by themselves, are left out.

    Raises InvalidArgument: not such an archive, too many or too large, a link, a path that leaves it, or no text.
    """
    files: dict[str, str] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(_inflate(data)), mode="r:") as archive:
            for member in archive:
                if (name := _name_of(member)) and not _is_waste(name):
                    content = archive.extractfile(member)
                    files[name] = content.read().decode("utf-8") if content else ""
                if len(files) > MOST_FILES:
                    raise InvalidArgument(f"The evaluator's source has more than {MOST_FILES} files.")
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError) as error:
        raise InvalidArgument(
            f"The evaluator's source cannot be read: {error}.", hint="Upload a .tar.gz of text files in UTF-8."
        ) from error
    if not files:
        raise InvalidArgument("The evaluator's source has no files.")
    return files


def entry_of(files: dict[str, str], said: str) -> str:
    """`file.py::function`, or `file.py` where its only evaluation is meant; `module:function` is taken too.

    Without `said`: `evaluator.py`, else the only Python file, else the only `test_*.py`. Raises InvalidArgument.
    """
    if said:
        path, _, function = said.replace("::", ":").partition(":")
        path = path if path.endswith(".py") else path.replace(".", "/") + ".py"
        if path not in files:
            raise InvalidArgument(f"The entry point {said[:80]!r} names no file of the evaluator's source.")
        return f"{path}::{function}" if function else path
    python = [name for name in files if name.endswith(".py")]
    tests = [name for name in python if PurePosixPath(name).name.startswith("test_")]
    for found in (["evaluator.py"] if "evaluator.py" in files else [], python, tests):
        if len(found) == 1:
            return found[0]
    raise InvalidArgument(
        "Which file of the evaluator is to be run cannot be told.",
        hint="Set entryPoint, such as evaluator.py::evaluate, or name the file evaluator.py.",
    )


def _inflate(data: bytes) -> bytes:
    with gzip.open(io.BytesIO(data)) as stream:
        found = stream.read(MOST_BYTES + 1)
    if len(found) > MOST_BYTES:
        raise InvalidArgument(f"The evaluator's source is larger than {MOST_BYTES >> 20} MiB.")
    return found


def _name_of(member: tarfile.TarInfo) -> str:
    name = member.name.removeprefix("./")
    if member.isdir():
        return ""
    if not member.isfile():
        raise InvalidArgument(f"{member.name[:80]!r} in the evaluator's source is not a file.")
    if fault := fault_of(name, _DEPTH):
        raise InvalidArgument(f"The path {name[:80]!r} in the evaluator's source {fault}.")
    return name


def _is_waste(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return "__pycache__" in parts or ".git" in parts or name.endswith((".pyc", ".DS_Store"))
