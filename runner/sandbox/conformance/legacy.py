"""What a forked process could bring along from the one that it was forked from."""

import ctypes
import errno
import hashlib
import os
import platform
import signal
from collections.abc import Iterator
from pathlib import Path

from runner.sandbox.conformance.probe import BLOCKED, Bait, Probe, attempt, probe, reached
from runner.sandbox.seccomp import MACHINES, REFUSED

KEY, SECRET = b"pilotlight-probe", b"of the zygote"
KEYCTL_JOIN, SESSION_KEYRING = 1, -3
_SEARCH, _READ, _PR_GET_PDEATHSIG = 10, 11, 2
_LIBC = ctypes.CDLL(None, use_errno=True)
_HIDDEN_BYTES = 44
_IGNORED = {signal.SIGPIPE, signal.SIGXFSZ}


def list_probes() -> list[Probe]:
    """Everything that only a fork could leave."""
    return [
        probe("env.memory", lambda bait: reached() if _holds_hidden(bait) else BLOCKED, fork="env"),
        probe("fs.working_folder", lambda _: _compare(str(Path.cwd()), "/work"), fork="no-folder"),
        probe("priv.umask", lambda _: _compare(os.umask(0o022) & 0o022, 0o022), fork="no-umask"),
        probe(
            "priv.signal_mask",
            lambda _: _compare(signal.pthread_sigmask(signal.SIG_BLOCK, []), set()),
            fork="no-signals",
        ),
        probe("priv.signal_handlers", lambda _: _compare(_list_ignored(), _IGNORED), fork="no-signals"),
        probe("proc.outlives_parent", lambda _: _compare(_read_death_signal(), signal.SIGKILL), fork="no-life"),
        probe("fd.of_neighbours", lambda _: _list_neighbours(), fork="leak"),
        probe("ipc.keyring", lambda _: attempt(_read_key, REFUSED, errno.ENOKEY), fork="no-keyring+seccomp"),
    ]


def call_keyctl(*arguments: object) -> int:
    """Raises OSError."""
    number = MACHINES[platform.machine()].refused["keyctl"]
    if (result := _LIBC.syscall(ctypes.c_long(number), *arguments)) == -1:
        raise OSError(ctypes.get_errno(), "keyctl")
    return result


def _compare(found: object, wanted: object) -> str:
    return BLOCKED if found == wanted else reached(found)


def _list_ignored() -> set[int]:
    return {number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN}


def _list_neighbours() -> str:
    """What whoever waits in the room has open, apart from its streams: it could be taken from there."""
    waiting = [path.parent for path in Path("/proc").glob("[0-9]*/comm") if path.read_text() == "cat\n"]
    found = [str(entry) for process in waiting for entry in (process / "fd").iterdir() if int(entry.name) > 2]
    return BLOCKED if waiting and not found else reached(found)


def _read_death_signal() -> int:
    number = ctypes.c_int(0)
    _LIBC.prctl(_PR_GET_PDEATHSIG, ctypes.byref(number))
    return number.value


def _read_key() -> bytes:
    """A key of the session keyring that the zygote has."""
    key = call_keyctl(_SEARCH, ctypes.c_long(SESSION_KEYRING), b"user", KEY, ctypes.c_long(0))
    buffer = ctypes.create_string_buffer(len(SECRET))
    call_keyctl(_READ, ctypes.c_long(key), buffer, ctypes.c_long(len(SECRET)))
    return buffer.raw


def _holds_hidden(bait: Bait) -> bool:
    """Look for the secret in all memory that is no file's, knowing how it begins."""
    for start, size in _list_regions():
        data, at = ctypes.string_at(start, size), -1
        while (at := data.find(bait.mark.encode(), at + 1)) >= 0:
            if hashlib.sha256(data[at : at + _HIDDEN_BYTES]).hexdigest() == bait.digest:
                return True
    return False


def _list_regions() -> Iterator[tuple[int, int]]:
    for line in Path("/proc/self/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        if fields[1].startswith("r") and (len(fields) < 6 or fields[5] in ("[heap]", "[stack]")):
            start, end = (int(part, 16) for part in fields[0].split("-"))
            yield start, end - start
