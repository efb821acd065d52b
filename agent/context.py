"""What routes work with, and how they get it."""

import asyncio
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Engine

from agent.dispatch import Dispatcher
from agent.feeds import Feeds
from agent.notices.deliverer import Deliverer
from gateway import Gateway, PlatformClient
from pilotlight.errors import PermissionDenied
from pilotlight.identity import Principal, authenticate, bearer_of
from pilotlight.settings import Settings

EVALUATORS_AT_ONCE = 2
"""Sandboxes of evaluators at a time, of all sessions of this process; further ones wait."""


@dataclass(frozen=True)
class Control:
    """All parts of a process that runs turns: opened once by `agent.app.open_control`."""

    settings: Settings
    engine: Engine
    gateway: Gateway
    dispatcher: Dispatcher
    platform: PlatformClient
    feeds: Feeds
    deliverer: Deliverer
    evaluators: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(EVALUATORS_AT_ONCE))


def find_control(request: Request) -> Control:
    """The control process that serves this request."""
    return request.app.state.control


ControlDep = Annotated[Control, Depends(find_control)]


def identify(request: Request, control: ControlDep) -> Principal:
    """Who calls. Raises Unauthenticated."""
    return authenticate(control.engine, bearer_of(request))


AnyCallerDep = Annotated[Principal, Depends(identify)]


def admit(account: str, caller: AnyCallerDep) -> Principal:
    """The caller, when the path names its own account. Raises PermissionDenied else."""
    if account != caller.account:
        raise PermissionDenied(
            f"This key belongs to the account {caller.account}, not to {account[:80]!r}.",
            hint="Use the account of the key.",
        )
    return caller


CallerDep = Annotated[Principal, Depends(admit)]
