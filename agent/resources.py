"""What a session created, and ending it with the caller's own rights: requests through our own front door."""

from starlette.types import ASGIApp

from agent.context import Control
from agent.wire import Handled


async def cancel_jobs(control: Control, app: ASGIApp, key: str, session: str) -> list[Handled]:
    return []


async def clean_up(control: Control, app: ASGIApp, key: str, session: str, confirm: bool) -> list[Handled]:
    return []
