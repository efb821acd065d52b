"""Paging walks, filters, orders, masks and error bodies, as the official SDK sees them; sync and async."""

import asyncio
import time
from typing import Any

import fireworks
import httpx
import pytest
from fireworks import AsyncFireworks, Fireworks


@pytest.fixture(scope="module")
def many(platform_server: Any) -> list[str]:
    with platform_server.client() as sdk:
        for index in range(7):
            sdk.datasets.create(dataset_id=f"many-{index}", dataset={"display_name": f"Number {6 - index}"})
    return [f"accounts/acme/datasets/many-{index}" for index in range(7)]


def test_a_walk_over_pages_finds_each_once(sdk: Fireworks, many: list[str]) -> None:
    found = [item.name for item in sdk.datasets.list(page_size=2, filter='name = "*/many-*"', order_by="name")]
    assert found == many
    page = sdk.datasets.list(page_size=3, filter='name = "*/many-*"', order_by="name")
    assert page.to_dict()["totalSize"] == 7
    assert len(page.datasets or []) == 3
    following = page.get_next_page()
    assert [item.name for item in following.datasets or []] == many[3:6]


def test_orders_and_filters(sdk: Fireworks, many: list[str]) -> None:
    by_name = sdk.datasets.list(filter='display_name = "Number*"', order_by="display_name")
    assert [item.name for item in by_name] == list(reversed(many))
    newest = sdk.datasets.list(filter='name = "*/many-*"', order_by="create_time desc")
    assert [item.name for item in newest] == list(reversed(many))
    some = sdk.datasets.list(filter='state = UPLOADING AND (display_name:"5" OR displayName = "Number 0")')
    assert {item.name for item in some} >= {many[1], many[6]}
    assert list(sdk.datasets.list(filter="example_count > 10000000")) == []


def test_read_masks(sdk: Fireworks, many: list[str]) -> None:
    one = sdk.datasets.get("many-0", read_mask="name,display_name")
    assert one.to_dict() == {"name": many[0], "displayName": "Number 6"}
    for item in sdk.datasets.list(read_mask="name", filter='name = "*/many-*"'):
        assert set(item.to_dict()) == {"name"}


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"filter": "state ="}, "value is missing"),
        ({"filter": "nonsense = 1"}, "Unknown field"),
        ({"orderBy": "name sideways"}, "Invalid orderBy"),
        ({"pageSize": "-2"}, "Invalid pageSize"),
        ({"page_token": "xx"}, "Invalid pageToken"),
        ({"readMask": "a b"}, "readMask"),
    ],
)
def test_malformed_lists_are_refused(sdk: Fireworks, query: dict[str, str], reason: str) -> None:
    with pytest.raises(fireworks.BadRequestError, match=reason):
        sdk.datasets.list(extra_query=query)


def test_errors_map_to_the_typed_exceptions(sdk: Fireworks, platform_server: Any, many: list[str]) -> None:
    with pytest.raises(fireworks.NotFoundError) as missing:
        sdk.datasets.get("nowhere")
    body: Any = missing.value.body
    assert (body["code"], body["details"]) == (5, [])
    assert "accounts/acme/datasets/nowhere not found" in body["message"]
    with pytest.raises(fireworks.BadRequestError, match="datasetId"):
        sdk.datasets.create(dataset_id="No_Good", dataset={})
    with pytest.raises(fireworks.BadRequestError, match="Invalid request"):
        sdk.datasets.create(dataset_id="x", dataset={"display_name": 3})  # pyright: ignore[reportArgumentType]
    with pytest.raises(fireworks.PermissionDeniedError, match="belongs to the account acme"):
        sdk.datasets.list(account_id="other")
    with pytest.raises(fireworks.PermissionDeniedError, match="read-only"):
        sdk.datasets.create(dataset_id="x", dataset={}, account_id="fireworks")
    for key in ("fw_wrong", platform_server.key[:-1] + "x"):
        with platform_server.client(key) as other, pytest.raises(fireworks.AuthenticationError):
            other.datasets.list()
    assert httpx.get(f"{platform_server.base_url}/v1/accounts").json()["code"] == 16


def test_a_taken_name_is_not_retried(platform_server: Any, many: list[str]) -> None:
    with platform_server.client(retries=3) as sdk:
        start = time.monotonic()
        with pytest.raises(fireworks.ConflictError, match="already exists") as taken:
            sdk.datasets.create(dataset_id="many-0", dataset={})
        assert taken.value.response.headers["x-should-retry"] == "false"
        assert taken.value.body["code"] == 6  # pyright: ignore[reportIndexIssue, reportOptionalSubscript, reportArgumentType, reportCallIssue]
        assert time.monotonic() - start < 2


def test_unoffered_parts_say_so(sdk: Fireworks) -> None:
    for call in (lambda: sdk.batch_inference_jobs.list(), lambda: sdk.secrets.delete("x")):
        with pytest.raises(fireworks.InternalServerError, match="does not offer") as caught:
            call()
        assert caught.value.status_code == 501


def test_the_async_client(platform_server: Any, many: list[str]) -> None:
    async def walk() -> list[str | None]:
        async with AsyncFireworks(
            api_key=platform_server.key, account_id="acme", base_url=platform_server.base_url, max_retries=0
        ) as client:
            made = await client.datasets.create(dataset_id="async-one", dataset={})
            assert made.state == "UPLOADING"
            got = await asyncio.gather(*(client.datasets.get(f"many-{index}") for index in range(7)))
            assert [item.name for item in got] == many
            pages = client.datasets.list(page_size=2, filter='name = "*/many-*"', order_by="name")
            return [item.name async for item in pages]

    assert asyncio.run(walk()) == many
