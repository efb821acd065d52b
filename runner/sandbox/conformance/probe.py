"""What a probe is, and how it says what happened."""

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass

BLOCKED = "blocked"
REACHED = "reached"
KINDS = ("runner", "evaluator", "fork")
"""Both profiles, and a runner that was forked into its room."""


@dataclass(frozen=True)
class Bait:
    """What the host holds ready to be reached, all of it our own and worthless."""

    pid: int
    hostname: str
    canary: str
    """A file outside of the sandbox whose content is `secret`."""
    secret: str
    tcp_port: int
    udp_port: int
    abstract: str
    """Name of an abstract Unix socket that hands whoever connects a descriptor of the canary's folder."""
    socket: str
    """Path of another such socket, in the canary's folder."""
    gateway: str
    """The folder of the session's socket."""
    shared_memory: int
    semaphores: int
    messages: int
    queue: str
    shm_file: str
    namespaces: dict[str, str]
    limits: dict[str, int]
    mark: str
    """How a secret begins that only processes outside know, and that the next field is the SHA-256 of."""
    digest: str


Act = Callable[[Bait], str]


@dataclass(frozen=True)
class Probe:
    """An attempt, and by kind of sandbox the ablation under which it must succeed."""

    name: str
    act: Act
    proofs: dict[str, str]
    known: str = ""
    """Why runners are left open to it, where they are: no protection is claimed, and the attempt must succeed."""

    def applies(self, kind: str) -> bool:
        """Whether it is tried in a kind of sandbox."""
        return kind in self.proofs or bool(self.known and kind != "evaluator")

    @property
    def family(self) -> str:
        """fs, proc, mnt, ns, priv, ipc, net, kern, tty, env, fd, python or resource."""
        return self.name.partition(".")[0]


def probe(
    name: str,
    act: Act,
    both: str = "",
    *,
    runner: str = "",
    evaluator: str = "",
    fork: str = "",
    known: str = "",
) -> Probe:
    """A probe proven by one ablation, or by one for each kind; it is not run in a kind without one.

    A forked runner's is that of every runner, where no other is named.
    """
    proofs = {"runner": runner or both, "evaluator": evaluator or both, "fork": fork or runner or both}
    return Probe(name, act, {kind: ablation for kind, ablation in proofs.items() if ablation}, known)


def reached(what: object = "") -> str:
    """The outcome of an attempt that succeeded."""
    return f"{REACHED} {what}".strip()


def attempt(act: Callable[[], object], *refusals: int) -> str:
    """Blocked when `act` fails with one of `refusals`; any other failure is an error, which proves nothing."""
    try:
        result = act()
    except OSError as error:
        code = error.errno or 0
        return BLOCKED if code in refusals else f"error {errno.errorcode.get(code, code)}"
    return reached(result)


def run(probes: Iterable[Probe], bait: Bait) -> dict[str, str]:
    """Outcomes by name: "blocked", "reached ...", or "error ..." for what was not expected."""
    outcomes: dict[str, str] = {}
    for one in probes:
        try:
            outcomes[one.name] = one.act(bait)
        except Exception as error:  # noqa: BLE001 - the other probes are to run, and an error is not a success
            outcomes[one.name] = f"error {type(error).__name__}: {error}"
    return outcomes
