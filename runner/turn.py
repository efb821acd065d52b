"""One turn at work: the client, the workspace and the context, with the few verbs every phase needs."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pilotlight.crashpoints import Point, reach
from pilotlight.errors import NotFound
from pilotlight.plan import Phase, Plan, canonical_json
from pilotlight.question import Answer, Question
from runner.client import Client
from runner.context import TurnContext
from runner.workspace import Workspace


@dataclass(frozen=True)
class Turn:
    """Passed to every node; holds no state of its own."""

    client: Client
    workspace: Workspace
    context: TurnContext
    poll_seconds: float = 1.0
    """How often jobs and deployments are looked at."""

    def emit(self, kind: str, payload: dict[str, Any], key: str) -> None:
        """Append one event. The same key is written once, however often it is sent."""
        self.emit_all([(kind, payload, key)])

    def emit_all(self, events: list[tuple[str, dict[str, Any], str]]) -> None:
        """Append events in order."""
        if events:
            body = [{"type": kind, "payload": payload, "key": key} for kind, payload, key in events]
            reach(Point.RUNNER_EVENTS_PLANNED)
            self.client.post("/turn/v1/events", {"events": body})
            reach(Point.RUNNER_EVENTS_SENT)

    def say(self, text: str, key: str) -> None:
        """Tell the user something (Markdown). The text is part of the key: a changed text is news."""
        self.emit("status_info", {"text": text}, f"{key}/{_short(text)}")

    def phase(self, phase: Phase, state: str, generation: int, **more: str) -> None:
        """Announce that a phase started, completed or was skipped; `generation` tells follow-up work apart."""
        self.emit("phase", {"phase": phase.value, "state": state} | more, f"phase/{generation}/{phase.value}/{state}")

    def artifact(self, path: str, title: str) -> None:
        """Announce a file the user may see; a new content is announced anew."""
        digest = hashlib.sha256((self.workspace.root / path).read_bytes()).hexdigest()[:12]
        self.emit("artifact", {"path": path, "title": title}, f"artifact/{path}/{digest}")

    def publish_plan(self, plan: Plan) -> None:
        """Make it the session's plan: stored with the control process, and among the files as the user will see it."""
        reply = self.client.post("/turn/v1/plan", plan.model_dump(mode="json", by_alias=True))
        reach(Point.RUNNER_PLAN_SENT)
        self.workspace.write_text("plan.json", plan.canonical() + "\n")
        self.workspace.write_text("plan.md", str(reply["planMarkdown"]))
        self.artifact("plan.json", "The plan as it is hashed")
        self.artifact("plan.md", "Plan and cost")

    def ask(self, question: Question) -> None:
        """Ask; asking the same question ID again changes nothing."""
        reach(Point.RUNNER_QUESTION_PLANNED)
        self.client.post("/turn/v1/question", question.model_dump(mode="json", by_alias=True, exclude_none=True))
        reach(Point.RUNNER_QUESTION_SENT)

    def answer(self, question_id: str) -> Answer | None:
        """The answer in the inbox, or None while there is none."""
        try:
            answer = Answer.model_validate(self.client.get(f"/turn/v1/answers/{question_id}"))
        except NotFound:
            return None
        reach(Point.RUNNER_ANSWER_READ)
        return answer

    def cost(self, key: str) -> dict[str, Any]:
        """Read what the session cost so far and record it as an event."""
        cost = self.client.get("/turn/v1/cost")
        seen = {name: cost.get(name) for name in ("soFar", "reserved", "approved")}
        self.emit("cost", seen, f"cost/{key}/{_short(canonical_json(seen))}")
        return cost

    def stop_jobs(self, names: Sequence[str] = ()) -> None:
        """Stop these jobs of this session, or every one that still runs; what they were approved for ends with them."""
        self.client.post("/turn/v1/stopJobs", {"jobs": list(names)} if names else {})

    def finish(self, status: str, message: str) -> None:
        """End the turn: `succeeded`, `failed` or `cancelled`."""
        outcome = {"status": status, "message": message}
        self.workspace.write_json("state/finish.json", outcome)
        reach(Point.RUNNER_FINISH_PLANNED)
        self.client.post("/turn/v1/finish", outcome)
        reach(Point.RUNNER_FINISH_SENT)

    def finish_again(self) -> None:
        """Say once more how the work ended, for a turn that starts after its end."""
        self.client.post("/turn/v1/finish", self.workspace.read_json("state/finish.json"))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
