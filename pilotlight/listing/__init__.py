"""Lists as every API of ours serves them: filters, order, page tokens, read and update masks [P14-P17].

Works on plain wire dictionaries (camelCase); field paths match in camelCase or snake_case.
"""

from pilotlight.listing.filters import parse_filter
from pilotlight.listing.masks import apply_read_mask, apply_update, parse_update_mask
from pilotlight.listing.paging import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, ListParams, list_page, parse_list_params

__all__ = [
    "DEFAULT_PAGE_SIZE",
    "MAX_PAGE_SIZE",
    "ListParams",
    "apply_read_mask",
    "apply_update",
    "list_page",
    "parse_filter",
    "parse_list_params",
    "parse_update_mask",
]
