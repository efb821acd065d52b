"""Pages of a list. A token holds the sort key of the last element, so that pages never repeat or skip what stays.

Elements added or removed between two pages do not disturb the walk; a token serves only the filter and order it was
made for.
"""

import base64
import binascii
import functools
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from pilotlight.errors import InvalidArgument
from pilotlight.listing.filters import parse_filter
from pilotlight.listing.masks import apply_read_mask
from pilotlight.listing.ordering import Key, Term, compare_keys, parse_order, sort_key

DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 50, 200


class ListParams(NamedTuple):
    """The five parameters every list method takes."""

    page_size: int = DEFAULT_PAGE_SIZE
    page_token: str = ""
    filter: str = ""
    order_by: str = ""
    read_mask: str = ""


def parse_list_params(query: Mapping[str, str]) -> ListParams:
    """Read the parameters from a query, in both spellings. Raises InvalidArgument on a bad page size."""
    return ListParams(
        _page_size(_either(query, "pageSize", "page_size")),
        _either(query, "pageToken", "page_token"),
        _either(query, "filter", "filter"),
        _either(query, "orderBy", "order_by"),
        _either(query, "readMask", "read_mask"),
    )


def list_page(
    resources: Iterable[dict[str, Any]],
    params: ListParams,
    collection: str,
    fields: Collection[str] | None = None,
) -> dict[str, Any]:
    """{collection: [...], nextPageToken, totalSize}; totalSize counts all that match the filter.

    `fields` is the allow-list for filter and order. Raises InvalidArgument on malformed parameters.
    """
    matches, terms = parse_filter(params.filter, fields), parse_order(params.order_by, fields)
    keyed = [(sort_key(resource, terms), resource) for resource in resources if matches(resource)]
    keyed.sort(key=functools.cmp_to_key(lambda left, right: compare_keys(left[0], right[0], terms)))
    start = _find_start([key for key, _ in keyed], params, terms)
    page = keyed[start : start + params.page_size]
    more = start + len(page) < len(keyed)
    token = make_token(page[-1][0], params) if more and page else ""
    return show_page([resource for _, resource in page], params, collection, token, len(keyed))


def show_page(
    page: list[dict[str, Any]], params: ListParams, collection: str, token: str, total: int
) -> dict[str, Any]:
    """A page as every list answers it."""
    shown = [apply_read_mask(resource, params.read_mask) for resource in page]
    return {collection: shown, "nextPageToken": token, "totalSize": total}


def _find_start(keys: list[Key], params: ListParams, terms: list[Term]) -> int:
    last = read_token(params, terms)
    if last is None:
        return 0
    return next((index for index, key in enumerate(keys) if compare_keys(key, last, terms) > 0), len(keys))


def make_token(key: Key, params: ListParams) -> str:
    """The token of the page after the element with this sort key."""
    text = json.dumps([_fingerprint(params), key])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_token(params: ListParams, terms: list[Term]) -> Key | None:
    """The sort key to go on after; None for the first page. Raises InvalidArgument for a token of another list."""
    token = params.page_token
    if not token:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        fingerprint, key = json.loads(raw)
        compare_keys(key, key, terms)
        if not all(_is_rank(part) for part in key):
            raise ValueError("not a sort key")
    except (ValueError, TypeError, RecursionError, binascii.Error) as error:
        raise InvalidArgument("Invalid pageToken.", hint="Pass the nextPageToken of the previous page.") from error
    if fingerprint != _fingerprint(params):
        raise InvalidArgument(
            "The pageToken belongs to another filter or orderBy.", hint="Start again without a pageToken."
        )
    return key


def _is_rank(part: Any) -> bool:
    kinds: dict[int, type | tuple[type, ...]] = {0: int, 1: (int, float), 2: str, 3: str}
    return isinstance(part, list) and len(part) == 2 and type(part[0]) is int and isinstance(part[1], kinds[part[0]])  # pyright: ignore[reportUnknownArgumentType]


def _fingerprint(params: ListParams) -> str:
    return hashlib.sha256(f"{params.filter}\0{params.order_by}".encode("utf-8", "replace")).hexdigest()[:12]


def _page_size(text: str) -> int:
    try:
        size = int(text or 0)
    except ValueError:
        raise InvalidArgument(f"Invalid pageSize {text[:20]!r}.", hint="Give a whole number from 1 to 200.") from None
    if size < 0:
        raise InvalidArgument(f"Invalid pageSize {size}.", hint="Give a whole number from 1 to 200.")
    return min(size, MAX_PAGE_SIZE) or DEFAULT_PAGE_SIZE


def _either(query: Mapping[str, str], camel: str, snake: str) -> str:
    return query.get(camel) or query.get(snake) or ""
