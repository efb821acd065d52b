"""Files of a session's workspace that the user may see."""

import mimetypes
from collections.abc import Iterator
from typing import BinaryIO

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from agent.context import CallerDep, Control, ControlDep
from agent.failures import ERRORS
from agent.files import Files, files_of
from agent.store import get_session, reading
from agent.wire import ArtifactPage

router = APIRouter(prefix="/v1/accounts/{account}/sessions/{session}/artifacts", responses=ERRORS, tags=["artifacts"])
_BLOCK = 1 << 18


@router.get("")
def list_(control: ControlDep, caller: CallerDep, session: str) -> ArtifactPage:
    """All visible files."""
    return ArtifactPage(artifacts=_files(control, caller.account, session).list())


@router.get(
    "/{path:path}",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}},
)
def download(control: ControlDep, caller: CallerDep, session: str, path: str) -> StreamingResponse:
    """The bytes of one file, as they were when it was opened."""
    artifact = _files(control, caller.account, session).open(path)
    headers = {
        "content-length": str(artifact.size),
        # What a runner wrote is data: never to be run by a browser as a page of ours.
        "content-disposition": "attachment",
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox",
    }
    kind = "text/markdown" if path.endswith(".md") else mimetypes.guess_type(path)[0]
    body = _read(artifact.file, artifact.size)
    return StreamingResponse(body, media_type=kind or "application/octet-stream", headers=headers)


def _files(control: Control, account: str, session: str) -> Files:
    with reading(control.engine) as db:
        return files_of(db, control.settings, get_session(db, account, session).id)


def _read(file: BinaryIO, size: int) -> Iterator[bytes]:
    with file:
        while size > 0 and (block := file.read(min(_BLOCK, size))):
            size -= len(block)
            yield block
