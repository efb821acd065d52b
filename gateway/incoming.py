"""Requests as the gateway takes them: facts for the decision, and a body that is read or passed on once."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.requests import ClientDisconnect

from manifest.facts import Call, RequestFacts
from pilotlight.errors import InvalidArgument

MAX_PROMPT = 32 << 20
"""Bytes of the body of an inference call; prompts may carry images."""
MAX_JSON = 1 << 20
"""Bytes of any other JSON body: it is parsed while everybody else waits."""
_DRAIN = 8 << 20


@dataclass(frozen=True)
class Incoming:
    """A request as the gateway takes it; `blocks` may be iterated once."""

    facts: RequestFacts
    blocks: AsyncIterator[bytes]

    def header(self, name: bytes) -> str:
        """A header's value, empty when absent."""
        return next((value.decode("latin-1") for key, value in self.facts.headers if key.lower() == name), "")


async def read_body(incoming: Incoming, action: str) -> bytes:
    """A JSON body, whole. Raises InvalidArgument above MAX_PROMPT (`infer`) or MAX_JSON."""
    most = MAX_PROMPT if action == "infer" else MAX_JSON
    body = bytearray()
    async for block in incoming.blocks:
        body += block
        if len(body) > most:
            raise InvalidArgument(f"The body is larger than {most >> 20} MiB.")
    return bytes(body)


async def drain(incoming: Incoming) -> None:
    """Take a refused upload off the wire, within limits, so that its sender gets to read the answer."""
    size = 0
    try:
        async for block in incoming.blocks:
            size += len(block)
            if size > _DRAIN:
                return
    except ClientDisconnect:
        return


def upload_parts(call: Call, incoming: Incoming) -> tuple[AsyncIterator[bytes] | None, dict[str, str]]:
    """Body and headers of an upload; nothing for other calls, whose requests are rebuilt."""
    if call.route.body != "multipart":
        return None, {}
    headers = {"content-type": incoming.header(b"content-type")}
    if length := incoming.header(b"content-length"):
        headers["content-length"] = length
    return incoming.blocks, headers


async def once(content: bytes) -> AsyncIterator[bytes]:
    """A body that is there already."""
    yield content
