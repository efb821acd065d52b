"""Files of a session's workspace that the user may see."""

import mimetypes
import os
from collections.abc import Iterator

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from agent.artifacts import list_artifacts, open_artifact
from agent.context import CallerDep, Control, ControlDep
from agent.failures import ERRORS
from agent.store import get_session, reading
from agent.wire import ArtifactPage
from agent.workspace import Workspace

router = APIRouter(prefix="/v1/accounts/{account}/sessions/{session}/artifacts", responses=ERRORS, tags=["artifacts"])
_BLOCK = 1 << 18


@router.get("")
def list_(control: ControlDep, caller: CallerDep, session: str) -> ArtifactPage:
    """All visible files."""
    return ArtifactPage(artifacts=list_artifacts(_workspace(control, caller.account, session).work))


@router.get(
    "/{path:path}",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}},
)
def download(control: ControlDep, caller: CallerDep, session: str, path: str) -> StreamingResponse:
    """The bytes of one file, as they were when it was opened."""
    artifact = open_artifact(_workspace(control, caller.account, session).work, path)
    headers = {
        "content-length": str(artifact.size),
        # What a runner wrote is data: never to be run by a browser as a page of ours.
        "content-disposition": "attachment",
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox",
    }
    kind = "text/markdown" if path.endswith(".md") else mimetypes.guess_type(path)[0]
    body = _read(artifact.descriptor, artifact.size)
    return StreamingResponse(body, media_type=kind or "application/octet-stream", headers=headers)


def _workspace(control: Control, account: str, session: str) -> Workspace:
    with reading(control.engine) as db:
        return Workspace(control.settings, get_session(db, account, session).id)


def _read(descriptor: int, size: int) -> Iterator[bytes]:
    try:
        while size > 0 and (block := os.read(descriptor, min(_BLOCK, size))):
            size -= len(block)
            yield block
    finally:
        os.close(descriptor)
