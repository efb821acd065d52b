"""What a campaign amounts to, in one page."""

import json
from collections import Counter

from tests.adversary.campaign import Evidence
from tests.adversary.case import Case
from tests.adversary.checker import Violation
from tests.adversary.money import totals


def summarise(evidence: Evidence, case: Case, violations: list[Violation]) -> str:
    """Sessions, calls, what was allowed, refused by which rule, killed, approved and spent."""
    refused = Counter(row["rule"] for row in case.audit if row["verdict"] == "denied")
    approved, used = totals(case)
    created = Counter(seen.created.split("/")[2] for seen in case.log if seen.created)
    lines = [
        f"{len(case.sessions)} sessions, {evidence.calls} calls, {len(case.log)} reached the platform, "
        f"{len(case.approvals)} approvals given, {evidence.seconds:.0f} s",
        f"control process killed {evidence.kills} times, {evidence.crashes} turns of the adversary crashed",
        f"approved ${approved / 1e6:.4f}, spent or reserved ${used / 1e6:.4f}",
        f"created: {json.dumps(created)}",
        f"refused by rule: {json.dumps(dict(refused.most_common()))}",
        "family: answers (allowed)",
    ]
    for family, codes in sorted(evidence.families.items()):
        allowed = sum(count for code, count in codes.items() if 200 <= code < 300)
        lines.append(f"  {family}: {codes.total()} ({allowed})")
    lines += [f"{len(violations)} violations", *(f"  {one.rule}: {one.what}" for one in violations[:50])]
    return "\n".join(lines)


def allowed_share(evidence: Evidence) -> float:
    """The share of calls that were answered with success: a campaign of refusals alone would show nothing."""
    allowed = sum(count for codes in evidence.families.values() for code, count in codes.items() if 200 <= code < 300)
    return allowed / evidence.calls
