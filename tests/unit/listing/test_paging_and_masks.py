"""Pages, orders and masks over plain dictionaries."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotlight.errors import InvalidArgument
from pilotlight.listing import apply_read_mask, apply_update, list_page, parse_list_params, parse_update_mask


def make(index: int, **fields: Any) -> dict[str, Any]:
    return {"name": f"accounts/a/models/m{index:03}", "createTime": f"2026-01-01T00:00:{index % 60:02}Z", **fields}


def walk(resources: list[dict[str, Any]], **query: str) -> list[str]:
    names: list[str] = []
    token = ""
    for _ in range(1000):
        page = list_page(resources, parse_list_params({**query, "pageToken": token}), "models")
        names += [item["name"] for item in page["models"]]
        token = page["nextPageToken"]
        if not token:
            return names
    raise AssertionError("the walk does not end")


scalars = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["", "a", "b", "10", "9"]))


@given(
    st.lists(scalars, max_size=25), st.integers(1, 7), st.sampled_from(["", "value", "value desc", "value,name desc"])
)
def test_a_walk_yields_everything_once(values: list[Any], size: int, order: str) -> None:
    resources = [make(index, value=value) for index, value in enumerate(values)]
    names = walk(resources, pageSize=str(size), orderBy=order)
    assert sorted(names) == [item["name"] for item in resources]
    assert names == walk(resources, pageSize="200", orderBy=order)


def test_default_order_is_newest_first() -> None:
    assert walk([make(1), make(3), make(2)]) == [make(index)["name"] for index in (3, 2, 1)]


def test_numbers_in_text_order_as_numbers() -> None:
    resources = [make(1, count="10"), make(2, count="9"), make(3)]
    assert [name[-1] for name in walk(resources, orderBy="count desc")] == ["1", "2", "3"]


def test_what_is_deleted_or_added_does_not_disturb_a_walk() -> None:
    resources = [make(index) for index in range(10)]
    first = list_page(resources, parse_list_params({"page_size": "4", "order_by": "name"}), "models")
    resources = [make(index) for index in (0, 1, 2, *range(4, 12))]
    query = {"pageSize": "50", "orderBy": "name", "pageToken": first["nextPageToken"]}
    second = list_page(resources, parse_list_params(query), "models")
    assert [item["name"][-1] for item in first["models"]] == ["0", "1", "2", "3"]
    assert [item["name"][-2:] for item in second["models"]] == ["04", "05", "06", "07", "08", "09", "10", "11"]


def test_page_sizes() -> None:
    resources = [make(index) for index in range(250)]
    for asked, given_back in [("", 50), ("0", 50), ("3", 3), ("200", 200), ("9999", 200)]:
        page = list_page(resources, parse_list_params({"pageSize": asked}), "models")
        assert (len(page["models"]), page["totalSize"]) == (given_back, 250)


@pytest.mark.parametrize(
    "query", [{"pageSize": "-1"}, {"pageSize": "ten"}, {"orderBy": "name sideways"}, {"orderBy": ","}]
)
def test_malformed_parameters_are_refused(query: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        list_page([make(1)], parse_list_params(query), "models")


def forge(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@given(st.one_of(st.text(max_size=30), st.recursive(scalars, lambda inner: st.lists(inner, max_size=3)).map(forge)))
def test_forged_tokens_are_refused(token: str) -> None:
    if not token:
        return
    with pytest.raises(InvalidArgument, match="pageToken"):
        list_page([make(1)], parse_list_params({"pageToken": token}), "models")


def test_a_token_serves_only_its_own_query() -> None:
    resources = [make(index) for index in range(5)]
    token = list_page(resources, parse_list_params({"pageSize": "2"}), "models")["nextPageToken"]
    with pytest.raises(InvalidArgument, match="another filter or orderBy"):
        list_page(resources, parse_list_params({"pageToken": token, "orderBy": "name"}), "models")


def test_read_masks_select() -> None:
    model = {"name": "n", "peftDetails": {"r": 8, "baseModel": "b"}, "state": "READY"}
    assert apply_read_mask(model, "name,peft_details.r") == {"name": "n", "peftDetails": {"r": 8}}
    assert apply_read_mask(model, "peftDetails,peftDetails.r") == {"peftDetails": {"r": 8, "baseModel": "b"}}
    assert apply_read_mask(model, "name.x,nothing") == {}
    assert apply_read_mask(model, None) == apply_read_mask(model, "*") == model
    with pytest.raises(InvalidArgument, match="readMask"):
        apply_read_mask(model, "a b")


def test_update_masks_say_what_changes() -> None:
    body = {"displayName": "old", "description": "kept", "config": {"a": 1, "b": 2}}
    mutable = {"displayName", "description", "config"}
    sent = {"displayName": "new", "config": {"a": 3}}
    masked = apply_update(body, sent, parse_update_mask("display_name,config.a", mutable))
    assert masked == {"displayName": "new", "description": "kept", "config": {"a": 3, "b": 2}}
    # Without a mask every mutable field is replaced, absent ones are reset [P17].
    assert apply_update(body, sent, parse_update_mask(None, mutable)) == {"displayName": "new", "config": {"a": 3}}
    assert body["config"] == {"a": 1, "b": 2}
    with pytest.raises(InvalidArgument, match="state"):
        parse_update_mask("state", mutable)


@given(
    st.text(max_size=20),
    st.dictionaries(st.sampled_from(["a", "aB", "b"]), st.dictionaries(st.sampled_from(["c", "d"]), scalars)),
)
def test_any_mask_selects_or_is_refused(mask: str, resource: dict[str, Any]) -> None:
    try:
        chosen = apply_read_mask(resource, mask)
    except InvalidArgument:
        return
    assert chosen.items() <= resource.items() or set(chosen) <= set(resource)
