"""Many clients at once, and clients that hang up."""

import asyncio
import json
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

BASE = "accounts/acme/models/base"
TUNED = "accounts/acme/models/tuned#accounts/acme/deployments/base"
HEADERS = {"Authorization": "Bearer good"}


def body(place: int, **extra: Any) -> dict[str, Any]:
    content = "hello " * (1 + place % 7)
    model = (BASE, TUNED)[place % 2]
    return {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": 10, **extra}


def test_32_clients_get_what_each_would_get_alone(served: Any) -> None:
    async def scenario() -> tuple[list[str], list[str]]:
        async with httpx.AsyncClient(base_url=served.url, headers=HEADERS, timeout=120) as client:

            async def ask(place: int) -> str:
                request = body(place, temperature=0.8, seed=place)
                response = await client.post("/inference/v1/chat/completions", json=request)
                return response.raise_for_status().json()["choices"][0]["message"]["content"]

            alone = [await ask(place) for place in range(32)]
            return alone, await asyncio.gather(*(ask(place) for place in range(32)))

    alone, together = asyncio.run(scenario())
    assert together == alone
    assert len(set(alone)) > 16
    assert served.active == 0


@pytest.mark.parametrize("stream", [True, False])
def test_hanging_up_frees_the_slot(served: Any, stream: bool) -> None:
    payload = json.dumps(body(0, max_tokens=900, n=4, ignore_eos=True, stream=stream)).encode()
    place = urlsplit(served.url)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer good\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
    )
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=20) as client:
        client.sendall(head.encode() + payload)
        if stream:
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        wait_until(lambda: served.active == 4)
    wait_until(lambda: served.active == 0)


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "nothing happened within 20 seconds"
        time.sleep(0.005)
