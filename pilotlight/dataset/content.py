"""Rules for `content`: a text, or a list of text and image parts [P26, P32]."""

import binascii
import re
from typing import Any, NamedTuple, cast

_DATA_URI = re.compile(r"data:image/(png|jpe?g);base64,", re.IGNORECASE)


class Content(NamedTuple):
    """What a content holds: its text, whether it has images, and the first thing wrong with it."""

    text: str
    images: int
    code: str = ""
    detail: str = ""


def read_content(content: Any, where: str) -> Content:
    """Read a content that is present; `where` names it in details, such as `messages[2]`."""
    if isinstance(content, str):
        return Content(content, 0)
    if not isinstance(content, list):
        return Content("", 0, "content_type", f"{where}.content is {kind_of(content)}")
    texts: list[str] = []
    images = 0
    for index, part in enumerate(cast("list[Any]", content)):
        problem = _check_part(part, f"{where}.content[{index}]")
        if problem:
            return Content("".join(texts), images, *problem)
        if part["type"] == "text":
            texts.append(part["text"])
        else:
            images += 1
    return Content("".join(texts), images)


def kind_of(value: Any) -> str:
    """The JSON type of a value, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), "unknown")


def quote(value: Any, limit: int = 40) -> str:
    """Text of a row as a finding may repeat it: cut, and with no character that a terminal or a reader acts on."""
    return repr(str(value)[:limit])


def _check_part(part: Any, where: str) -> tuple[str, str] | None:
    if not isinstance(part, dict):
        return "content_part", f"{where} is {kind_of(part)}"
    fields = cast("dict[str, Any]", part)
    if fields.get("type") == "text":
        if not isinstance(fields.get("text"), str):
            return "content_part", f"{where}.text is {kind_of(fields.get('text'))}"
        return None
    if fields.get("type") == "image_url":
        reason = _check_image(fields.get("image_url"))
        return ("image_url", f"{where}: {reason}") if reason else None
    return "content_part", f"{where}.type is {quote(fields.get('type'))}"


def _check_image(image: Any) -> str:
    url = cast("dict[str, Any]", image).get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        return "image_url has no url"
    match = _DATA_URI.match(url)
    if not match:
        return f"the URL starts with {quote(url, 24)}"
    try:
        binascii.a2b_base64(url[match.end() :], strict_mode=True)
    except ValueError as error:
        return f"the base64 data is broken ({error})"
    return ""
