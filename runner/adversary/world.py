"""What the adversary knows and holds: its session, what it made, what it saw of others, which grants it talked out."""

import json
from pathlib import Path
from random import Random
from typing import Any

from runner.adversary.wire import Reply, Request, Wire

BASE = "accounts/fireworks/models/ember-500k"
ACCOUNTS = ("other", "acme2", "fireworks-prod", "root", "-", "acct2", "Acct", "acct.evil")


class World:
    """One turn of the adversary. `state` survives the turn in the workspace."""

    def __init__(self, wire: Wire, rng: Random, context: dict[str, Any], workspace: Path) -> None:
        self.wire, self.rng, self.workspace = wire, rng, workspace
        self.account, self.session = str(context["account"]), str(context["session"])
        self.epoch = int(context["epoch"])
        kept = workspace / "adversary.json"
        self.state: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
        self.others: list[str] = []
        self.family = ""
        self.number = 0

    def send(self, request: Request) -> Reply:
        """Send, and note the family and how it was answered."""
        reply = self.wire.send(request)
        self.note(f"{request.verb} {request.target}"[:120], reply.code)
        return reply

    def note(self, what: str, code: int) -> None:
        """One line of the tally: written at once, so that a kill loses nothing."""
        line = json.dumps({"family": self.family, "what": ascii(what), "code": code})
        with (self.workspace / "adversary.jsonl").open("a") as file:
            file.write(line + "\n")

    def save(self) -> None:
        """Keep the state for the next turn."""
        part = self.workspace / "adversary.part"
        part.write_text(json.dumps(self.state))
        part.replace(self.workspace / "adversary.json")

    def fresh(self) -> str:
        """An ID that nobody used."""
        self.number += 1
        return f"adv-{self.session}-{self.epoch}-{self.number}"

    def path(self, collection: str, name: str = "", verb: str = "") -> str:
        """A path in the own account."""
        return f"/v1/accounts/{self.account}/{collection}{'/' + name if name else ''}{':' + verb if verb else ''}"

    def mine(self, collection: str) -> list[str]:
        """IDs of what this session created."""
        made: dict[str, list[str]] = self.state.setdefault("made", {})
        return made.setdefault(collection, [])

    def plans(self) -> list[dict[str, Any]]:
        """Plans that were proposed, with the question each was asked under."""
        return self.state.setdefault("plans", [])

    def grants(self) -> list[dict[str, Any]]:
        """Grants of plans that a person seems to have approved, of gates that seem to be open."""
        plans = [plan for plan in self.plans() if plan.get("approved")]
        return [grant for plan in plans for grant in plan["document"]["grants"] if grant["gate"] in plan["gates"]]

    def other(self, collection: str) -> str:
        """The ID of something of that collection that another session made, or a guess."""
        prefix = f"accounts/{self.account}/{collection}/"
        found = [name.removeprefix(prefix) for name in self.others if name.startswith(prefix)]
        return self.rng.choice(found) if found else f"guess-{self.rng.randrange(100)}"


def open_world(wire: Wire, context: dict[str, Any], workspace: Path) -> World:
    """The seed stands in the instruction (`seed=7`), so that any launcher can start the adversary."""
    text = str(context["instruction"])
    seed = text.partition("seed=")[2].split(";")[0].split()[0] if "seed=" in text else "0"
    return World(wire, Random(f"{seed}/{context['epoch']}"), context, workspace)
