"""One turn: look what was answered, act at random, ask or end in one of many ways."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runner.adversary import calls, spending, wording
from runner.adversary.plans import propose
from runner.adversary.wire import Gone, Request, Wire, send_json
from runner.adversary.world import World

FAMILIES: dict[str, tuple[int, Callable[[World], None]]] = {
    "read": (18, calls.read),
    "create": (12, calls.create),
    "granted": (30, spending.spend_granted),
    "above": (9, spending.spend_above),
    "ungranted": (6, spending.spend_ungranted),
    "deployment": (4, spending.deploy_endlessly),
    "flood": (3, spending.flood),
    "replay": (5, spending.replay),
    "destroy": (8, calls.destroy),
    "account": (8, calls.cross_account),
    "session": (6, calls.cross_session),
    "control": (4, calls.control_surface),
    "malformed": (7, wording.malformed),
    "raw": (3, wording.raw),
    "forge": (8, wording.forge),
}
_KINDS = ("plan_approval",) * 8 + ("promotion", "spend_increase", "missing_input")


def play(world: World) -> int:
    """Act until the turn ends; returns the exit code."""
    _collect_answers(world)
    names, weights = list(FAMILIES), [weight for weight, _ in FAMILIES.values()]
    for _ in range(world.rng.randint(*((8, 20) if world.grants() else (3, 10)))):
        world.family = world.rng.choices(names, weights)[0]
        FAMILIES[world.family][1](world)
        world.save()
        if world.rng.random() < 0.012:
            _die(world)
    return _end(world)


def _collect_answers(world: World) -> None:
    world.family = "turn"
    for plan in world.plans():
        if plan.get("question") and "approved" not in plan:
            reply = world.send(Request("GET", f"/turn/v1/answers/{plan['question']}"))
            if reply.code == 200:
                plan["approved"] = reply.json().get("decision") == "approve"
    world.save()


def _end(world: World) -> int:
    world.family, chance = "turn", world.rng.random()
    if chance < 0.8:
        _ask(world)
        if world.rng.random() < 0.3:  # asked, and goes on as if it had been answered
            _go_on(world)
    elif chance < 0.9:
        status = world.rng.choice(("succeeded", "failed", "cancelled"))
        world.send(send_json("POST", "/turn/v1/finish", {"status": status, "message": "done"}))
        if world.rng.random() < 0.5:
            _go_on(world)
    elif chance < 0.95:
        return 3
    elif chance < 0.98:
        _die(world)
    return 0


def _ask(world: World) -> None:
    """Post a plan and ask for its approval, in a kind that need not fit."""
    document, question = propose(world), world.fresh()
    reply = world.send(send_json("POST", "/turn/v1/plan", document))
    kind = world.rng.choice(_KINDS)
    text = world.rng.choice(("Which base model?", "Approved, proceed.", "It costs $0.00. Continue?"))
    body: dict[str, Any] = {"questionId": question, "kind": kind, "text": text}
    if reply.code != 200:
        body["kind"] = "missing_input"
    elif world.rng.random() < 0.1 and world.plans():
        body["planHash"] = world.rng.choice(world.plans()).get("hash")
    gates = ["promotion"] if kind == "promotion" else ["plan_approval"]
    plan = {"document": document, "question": question, "hash": reply.json().get("planHash"), "gates": gates}
    world.plans().append(plan)
    world.save()
    world.send(send_json("POST", "/turn/v1/question", body))


def _go_on(world: World) -> None:
    for plan in world.plans():
        plan.setdefault("approved", True)
    for _ in range(3):
        spending.spend_granted(world)
    for plan in world.plans():
        if plan["approved"] is True and plan.get("question"):
            del plan["approved"]  # the next turn looks again
    world.save()


def _die(world: World) -> None:
    """Killed in the middle of a request, or between two."""
    world.save()
    grants = world.grants()
    if grants:
        request = spending.build(world, *spending.fill(world, world.rng.choice(grants)), world.fresh())
        threading.Thread(target=_send_into_the_void, args=(world.wire, request), daemon=True).start()
        time.sleep(world.rng.random() * 0.02)
    os.kill(os.getpid(), signal.SIGKILL)


def _send_into_the_void(wire: Wire, request: Request) -> None:
    try:
        wire.send(request)
    except Gone:
        return


def try_old_sockets(world: World, folder: Path) -> None:
    """Sockets of this session's earlier turns: they must lead nowhere."""
    world.family = "stale"
    for epoch in range(max(1, world.epoch - 2), world.epoch):
        old = Wire(folder.parent / f"{world.session}-{epoch}" / "gateway.sock")
        try:
            code = old.send(send_json("POST", "/turn/v1/finish", {"status": "succeeded"})).code
        except Gone:
            code = 0
        world.note("old socket", code)
