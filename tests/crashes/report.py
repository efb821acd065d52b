"""What a campaign amounts to, in a few lines."""

from collections import Counter

from tests.crashes.campaign import Evidence
from tests.crashes.checker import Violation


def summarise(evidence: Evidence, violations: list[Violation]) -> str:
    """Seed, kills by victim, sessions, duration, failures."""
    ends = [born for born in evidence.births if born["what"] == "end"]
    kills = Counter(f"{born['role']}" for born in ends if born["cause"] in ("campaign", "point"))
    points = sorted({born["point"] for born in ends if born["cause"] == "point"})
    shapes = Counter(entry["shape"] for entry in evidence.log.created.values())
    events = sum(len(seen) for seen in evidence.log.seen.values())
    lines = [
        f"seed {evidence.options.seed}: {kills.total()} kills {dict(kills)}, {len(evidence.log.created)} sessions "
        f"{dict(shapes)}, {events} events seen, {evidence.seconds:.0f} s, {evidence.crowding:.1f} processes for a core",
        f"{len(points)} crash points reached, {len(evidence.left)} left: {evidence.left}; "
        f"{evidence.disturbed} disturbances",
        f"{evidence.interrupted} times a session had to be told to go on",
        f"{len(violations)} violations",
        *(f"  {one.rule}: {one.what}" for one in violations[:40]),
    ]
    return "\n".join(lines)
