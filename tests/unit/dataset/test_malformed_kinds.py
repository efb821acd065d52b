"""Every kind of broken file there is: found with its line and its reason, in words that say what to do."""

import gzip
import io
import json
from typing import Any

import pytest

from pilotlight.dataset import CODES, Severity, scan


def chat(*contents: str, **extra: Any) -> bytes:
    roles = ("user", "assistant") * len(contents)
    messages = [{"role": role, "content": text} for role, text in zip(roles, contents, strict=False)]
    return json.dumps({"messages": messages, **extra}).encode()


def row(*messages: Any, **extra: Any) -> bytes:
    return json.dumps({"messages": list(messages), **extra}).encode()


GOOD = chat("What is 2 + 2?", "4")
USER, ANSWER = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
OTHER = {"role": "assistant", "content": "What?"}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {}}}]


def between(line: bytes) -> bytes:
    """Good rows with `line` as the fourth of five."""
    return b"\n".join([GOOD, GOOD, GOOD, line, GOOD]) + b"\n"


def pair(**fields: Any) -> bytes:
    good = {
        "input": {"messages": [USER]},
        "preferred_output": [{"role": "assistant", "content": "yes"}],
        "non_preferred_output": [{"role": "assistant", "content": "no"}],
    }
    lines = [json.dumps(good)] * 3 + [json.dumps({**good, **fields})]
    return "\n".join(lines).encode()


def sides(one: Any, two: Any, **fields: Any) -> bytes:
    """As pair, in the other format."""
    rows = [{"chosen": {"messages": [USER, ANSWER]}, "rejected": {"messages": [USER, OTHER]}} for _ in range(4)]
    rows[3] = {"chosen": {"messages": one}, "rejected": {"messages": two}, **fields}
    return "\n".join(json.dumps(row) for row in rows).encode()


def image(url: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}


# name: (file, code, line, part of the message)
FILES: dict[str, tuple[bytes, str, int, str]] = {
    "empty": (b"", "empty_file", 1, "at least 3 rows"),
    "only blank lines": (b"\n\n  \n", "empty_file", 1, "blank"),
    "gzip": (gzip.compress(between(GOOD)), "compressed", 1, "gzip"),
    "zip": (b"PK\x03\x04" + b"\x00" * 40, "compressed", 1, "zip"),
    "zstd": (b"\x28\xb5\x2f\xfd" + b"\x01" * 40, "compressed", 1, "zstd"),
    "parquet": (b"PAR1" + b"\x15\x04" * 40, "binary_file", 1, "Parquet"),
    "pdf": (b"%PDF-1.7\n" + b"x\n" * 4, "binary_file", 1, "PDF"),
    "utf-16 with mark": (between(GOOD).decode().encode("utf-16"), "utf16", 1, "UTF-16"),
    "utf-16 without mark": (between(GOOD).decode().encode("utf-16-le"), "utf16", 1, "UTF-16"),
    "utf-16 big endian without mark": (between(GOOD).decode().encode("utf-16-be"), "utf16", 1, "UTF-16"),
    "utf-32": (between(GOOD).decode().encode("utf-32"), "utf16", 1, "UTF-32"),
    "html page": (b"<!DOCTYPE html>\n<html><body>404</body></html>\n", "html_page", 1, "web page"),
    "xml": (b"\n<?xml version='1.0'?><rows/>", "html_page", 2, "markup"),
    "json array": (b"[\n" + GOOD + b",\n" + GOOD + b"\n]", "json_array", 1, "jq"),
    "json array on one line": (b"[" + b",".join([GOOD] * 3) + b"]", "json_array", 1, "jq"),
    "pretty printed": (json.dumps(json.loads(GOOD), indent=2).encode(), "json_document", 1, "one line"),
    "csv": (b"prompt,completion\nhi,hello\nyo,hey\n", "csv_file", 1, "CSV"),
    "tsv": (b"prompt\tcompletion\nhi\thello\n", "csv_file", 1, "CSV"),
    "plain text": (b"Once upon a time\nthere was\na file\n", "invalid_json", 1, "JSON library"),
    "one row": (GOOD, "too_few_rows", 1, "minimum is 3"),
    "two rows": (GOOD + b"\n" + GOOD + b"\n", "too_few_rows", 2, "it has 2"),
    "all prompts but one": (b"\n".join([chat("q")] * 3 + [GOOD]), "missing_assistant", 1, "Add the answer"),
    "mixed sample weights": (
        b"\n".join([chat("q", "a", weight=1.5)] * 3 + [GOOD] * 2),
        "mixed_weights",
        4,
        "every row",
    ),
    "mixed sample weights, first without": (
        b"\n".join([GOOD, *[chat("q", "a", weight=0.5)] * 3]),
        "mixed_weights",
        1,
        "every row",
    ),
    "chat among pairs": (pair() + b"\n" + GOOD, "mixed_formats", 5, "preference"),
    "pair among chats": (between(pair().split(b"\n")[0]), "mixed_formats", 4, "chat"),
    "pair without the rejected": (pair(non_preferred_output=None), "preference_pair", 4, "non_preferred_output"),
    "pair with two answers": (pair(preferred_output=[ANSWER, ANSWER]), "preference_pair", 4, "list of 2"),
    "pair of a user": (pair(preferred_output=[USER]), "preference_pair", 4, "assistant"),
    "pair of equals": (pair(preferred_output=[ANSWER], non_preferred_output=[ANSWER]), "equal_pair", 4, "same"),
    "pair without input": (pair(input={}), "preference_pair", 4, "input"),
    "pair without a prompt": (pair(input={"messages": []}), "empty_messages", 4, "input.messages"),
    "pair with an empty answer": (pair(preferred_output=[{**ANSWER, "content": ""}]), "empty_content", 4, "preferred"),
    "pair with an unknown role": (pair(input={"messages": [{**USER, "role": "human"}]}), "unknown_role", 4, "human"),
    "pair whose prompt is answered": (pair(input={"messages": [USER, ANSWER]}), "prompt_answered", 4, "answered"),
    "pair of equals but for the weight": (
        pair(preferred_output=[{**ANSWER, "weight": 1}], non_preferred_output=ANSWER),
        "equal_pair",
        4,
        "same",
    ),
    "pair of negative weight": (pair(weight=-1.0), "negative_weight", 4, "Swap"),
    "sides of two prompts": (sides([USER, ANSWER], [{**USER, "content": "Ho"}, OTHER]), "differing_prompts", 4, "same"),
    "sides of different tools": (
        sides([USER, ANSWER], [USER, OTHER], rejected={"messages": [USER, OTHER], "tools": TOOLS}),
        "differing_prompts",
        4,
        "tools",
    ),
    "side without an answer": (sides([USER, ANSWER], [USER]), "preference_pair", 4, "rejected does not end"),
    "side without a prompt": (sides([ANSWER], [OTHER]), "preference_pair", 4, "chosen has no message before"),
    "side that answers twice": (sides([USER, ANSWER, ANSWER], [USER, ANSWER, OTHER]), "prompt_answered", 4, "chosen"),
    "only one side": (sides([USER, ANSWER], None), "messages_type", 4, "rejected.messages is null"),
}

# name: (the fourth line, code, part of the message)
LINES: dict[str, tuple[bytes, str, str]] = {
    "cut off": (GOOD[:-9], "truncated", "ends early"),
    "cut off in a string": (GOOD[:30], "truncated", "ends early"),
    "trailing comma": (GOOD[:-1] + b",}", "invalid_json", "column"),
    "comment": (b"// " + GOOD, "invalid_json", "column 1"),
    "single quotes": (str(json.loads(GOOD)).encode(), "single_quotes", "json.dumps"),
    "two objects on a line": (GOOD + GOOD, "several_objects", "one JSON object per line"),
    "garbage after the object": (GOOD + b" x", "invalid_json", "more data"),
    "NaN": (GOOD[:-1] + b', "weight": NaN}', "non_finite_number", "NaN"),
    "Infinity": (GOOD[:-1] + b', "weight": -Infinity}', "non_finite_number", "Infinity"),
    "huge exponent": (GOOD[:-1] + b', "weight": 1e999}', "number_too_large", "smaller"),
    "NUL byte": (GOOD.replace(b"2 + 2", b"2 \x00 2"), "nul_byte", "column"),
    "raw control character": (GOOD.replace(b"2 + 2", b"2 \x01 2"), "control_character", "Escape"),
    "lone surrogate": (GOOD.replace(b"2 + 2", b"\\ud83d"), "lone_surrogate", "surrogate"),
    "lone low surrogate": (GOOD.replace(b"2 + 2", b"\\udc00 x"), "lone_surrogate", "surrogate"),
    "latin-1": (GOOD.replace(b"What", b"Qu\xe9"), "not_utf8", "0xe9"),
    "encoded surrogate": (GOOD.replace(b"What", b"\xed\xa0\x80"), "not_utf8", "0xed"),
    "overlong utf-8": (GOOD.replace(b"What", b"\xc0\xaf"), "not_utf8", "0xc0"),
    "duplicate key": (GOOD[:-1] + b', "messages": []}', "duplicate_key", "messages"),
    "duplicate key inside": (
        GOOD.replace(b'"role": "user"', b'"role": "user", "role": "user"'),
        "duplicate_key",
        "role",
    ),
    "duplicate key, odd spacing": (b'{"a" : 1, "a":2, ' + GOOD[1:], "duplicate_key", "'a'"),
    "duplicate key beside escaped quotes": (
        b'{"x": 1, "x": 2, ' + GOOD.replace(b"2 + 2", b'\\":\\"')[1:],
        "duplicate_key",
        "'x'",
    ),
    "too deep": (b'{"messages": ' + b"[" * 3000 + b"]" * 3000 + b"}", "too_deep", "nested"),
    "longer than 10 MB": (chat("q", "a" * 10_000_001), "line_too_long", "10.0 MB"),
    "a list": (b"[1, 2]", "not_an_object", "a list"),
    "a string": (b'"hello"', "not_an_object", "a string"),
    "null": (b"null", "not_an_object", "null"),
    "no messages": (b'{"id": 7}', "missing_messages", "Missing required field 'messages' on line 4"),
    "ShareGPT": (b'{"conversations": []}', "missing_messages", "ShareGPT"),
    "prompt and completion": (b'{"prompt": "a", "completion": "b"}', "missing_messages", "not a training format"),
    "Alpaca": (b'{"instruction": "a", "output": "b"}', "missing_messages", "Alpaca"),
    "batch row": (b'{"custom_id": "1", "body": {}}', "missing_messages", "batch inference"),
    "messages is a string": (b'{"messages": "hi"}', "messages_type", "a string"),
    "messages is null": (b'{"messages": null}', "messages_type", "null"),
    "messages is empty": (b'{"messages": []}', "empty_messages", "at least"),
    "a message is a string": (row(USER, "hello"), "messages_type", "messages[1]"),
    "no role": (row(USER, {"content": "x"}), "missing_role", "messages[1]"),
    "role of ShareGPT": (row({"role": "human", "content": "x"}, ANSWER), "unknown_role", "'user' here"),
    "role developer": (row({"role": "developer", "content": "x"}, ANSWER), "unknown_role", "'system' here"),
    "role is a list": (row({"role": ["user"], "content": "x"}, ANSWER), "unknown_role", "messages[0].role"),
    "role in capitals": (row({"role": "User", "content": "x"}, ANSWER), "unknown_role", "'User'"),
    "system in the middle": (row(USER, {"role": "system", "content": "x"}, ANSWER), "system_not_first", "messages[1]"),
    "two systems": (row(*[{"role": "system", "content": "x"}] * 2, USER, ANSWER), "system_not_first", "at most one"),
    "no assistant": (row(USER), "missing_assistant", "Add the answer"),
    "empty answer": (chat("q", ""), "empty_content", "messages[1]"),
    "empty question": (chat("", "a"), "empty_content", "messages[0]"),
    "no content": (row(USER, {"role": "assistant"}), "missing_content", "'content' on line 4"),
    "content is null": (row(USER, {"role": "assistant", "content": None}), "missing_content", "tool_calls"),
    "content is a number": (row(USER, {"role": "assistant", "content": 4}), "content_type", "a number"),
    "content is an object": (row(USER, {"role": "assistant", "content": {"text": "x"}}), "content_type", "an object"),
    "part without text": (row({"role": "user", "content": [{"type": "text"}]}, ANSWER), "content_part", "content[0]"),
    "unknown part": (row({"role": "user", "content": [{"type": "audio"}]}, ANSWER), "content_part", "audio"),
    "part is a string": (row({"role": "user", "content": ["x"]}, ANSWER), "content_part", "a string"),
    "no parts": (row({"role": "user", "content": []}, ANSWER), "empty_content", "messages[0]"),
    "image by URL": (row(image("https://example.com/a.png"), ANSWER), "image_url", "Embed"),
    "image of a wrong type": (row(image("data:image/gif;base64,AAAA"), ANSWER), "image_url", "PNG or JPEG"),
    "image of broken base64": (row(image("data:image/png;base64,A*A"), ANSWER), "image_url", "base64"),
    "message weight 0.5": (row(USER, {**ANSWER, "weight": 0.5}), "message_weight", "0.5"),
    "message weight true": (row(USER, {**ANSWER, "weight": True}), "message_weight", "True"),
    "message weight as text": (row(USER, {**ANSWER, "weight": "1"}), "message_weight", "0 (do not learn)"),
    "sample weight as text": (chat("q", "a", weight="high"), "sample_weight", "a string"),
    "sample weight null": (chat("q", "a", weight=None), "sample_weight", "null"),
    "tools is an object": (chat("q", "a", tools={}), "tools", "an object"),
    "tool without a name": (chat("q", "a", tools=[{"type": "function", "function": {}}]), "tools", "tools[0]"),
    "tool parameters as text": (
        chat("q", "a", tools=[{"type": "function", "function": {"name": "f", "parameters": "{}"}}]),
        "tools",
        "parameters is a string",
    ),
    "tool calls of a user": (row({**USER, "tool_calls": [CALL]}, ANSWER), "tool_calls", "not an assistant"),
    "tool calls is an object": (row(USER, {"role": "assistant", "tool_calls": CALL}), "tool_calls", "an object"),
    "tool arguments as an object": (
        row(USER, {"role": "assistant", "tool_calls": [{"function": {"name": "look", "arguments": {}}}]}, tools=TOOLS),
        "tool_calls",
        "not a string of JSON",
    ),
    "reasoning is a list": (row(USER, {**ANSWER, "reasoning_content": ["x"]}), "reasoning_content", "a list"),
    "reasoning of a user": (row({**USER, "reasoning_content": "x"}, ANSWER), "reasoning_content", "role user"),
}

# name: (the fourth line, code, part of the message): accepted at upload, shown at inspection
WARNINGS: dict[str, tuple[bytes, str, str]] = {
    "blank line": (b"   ", "blank_line", "skipped"),
    "unknown key": (chat("q", "a", lable="x"), "unknown_field", "lable"),
    "unknown message key": (row(USER, {**ANSWER, "contents": "x"}), "unknown_field", "messages[1].contents"),
    "weight of a user": (row({**USER, "weight": 0}, ANSWER), "weight_ignored", "assistant"),
    "all weights 0": (row(USER, {**ANSWER, "weight": 0}), "nothing_learned", "weight 0"),
    "ends with the user": (row(USER, ANSWER, USER), "ends_without_assistant", "it is user"),
    "two users in a row": (row(USER, USER, ANSWER), "repeated_role", "both user"),
    "white space": (chat("q", " \n "), "blank_content", "white space"),
    "no user": (row(ANSWER), "missing_user", "unprompted"),
    "undeclared tool": (row(USER, {"role": "assistant", "tool_calls": [CALL]}), "undeclared_tool", "look"),
    "broken tool arguments": (
        row(
            USER, {"role": "assistant", "tool_calls": [{"function": {"name": "look", "arguments": "{x"}}]}, tools=TOOLS
        ),
        "tool_arguments",
        "JSON object",
    ),
    "tool without a call": (row(USER, {"role": "tool", "content": "1"}, ANSWER), "tool_without_call", "messages[1]"),
    "image": (row(image("data:image/png;base64,AAAA"), ANSWER), "image_part", "text only"),
    "lost characters": (chat("q", "caf\ufffd"), "replacement_character", "U+FFFD"),
    "lost characters, unescaped": (
        chat("q", "cafX").replace(b"X", "\ufffd".encode()),
        "replacement_character",
        "U+FFFD",
    ),
}

# name: (file, code, part of the message): accepted at upload, shown at inspection
PAIR_WARNINGS: dict[str, tuple[bytes, str, str]] = {
    "a difference in white space": (
        pair(preferred_output=[{**ANSWER, "content": " no\n"}]),
        "almost_equal_pair",
        "white",
    ),
    "fields of both formats": (
        sides([USER, ANSWER], [USER, OTHER], input={"messages": [USER]}),
        "mixed_pair_fields",
        "remove the others",
    ),
    "a prompt without a user": (pair(input={"messages": [{**USER, "role": "system"}]}), "missing_user", "unprompted"),
    "an unknown field": (pair(score=1), "unknown_field", "score"),
}


@pytest.mark.parametrize("name", FILES)
def test_broken_file_is_found(name: str) -> None:
    data, code, line, text = FILES[name]
    assert_found(data, code, line, text, Severity.ERROR)


@pytest.mark.parametrize("name", LINES)
def test_broken_line_is_found(name: str) -> None:
    line, code, text = LINES[name]
    assert_found(between(line), code, 4, text, Severity.ERROR)


@pytest.mark.parametrize("name", WARNINGS)
def test_odd_line_is_warned_of(name: str) -> None:
    line, code, text = WARNINGS[name]
    assert_found(between(line), code, 4, text, Severity.WARNING)
    assert scan(io.BytesIO(between(line))).errors == 0


@pytest.mark.parametrize("name", PAIR_WARNINGS)
def test_odd_pair_is_warned_of(name: str) -> None:
    data, code, text = PAIR_WARNINGS[name]
    assert_found(data, code, 4, text, Severity.WARNING)
    assert scan(io.BytesIO(data)).errors == 0


@pytest.mark.parametrize(
    ("data", "code"), [(b"\xef\xbb\xbf" + between(GOOD), "bom"), (between(GOOD).replace(b"\n", b"\r\n"), "crlf")]
)
def test_marks_of_the_first_line_are_warned_of(data: bytes, code: str) -> None:
    report = scan(io.BytesIO(data))
    assert (report.rows, report.errors, dict(report.counts)) == (5, 0, {code: 1})
    assert report.findings[0].line == 1


def test_the_corpus_covers_every_code_but_the_row_limit() -> None:
    covered = {
        entry[1] for entry in [*FILES.values(), *LINES.values(), *WARNINGS.values(), *PAIR_WARNINGS.values()]
    } | {"bom", "crlf"}
    assert set(CODES) - covered == {"too_many_rows"}
    assert len(FILES) + len(LINES) + len(WARNINGS) >= 100


def assert_found(data: bytes, code: str, line: int, text: str, severity: Severity) -> None:
    report = scan(io.BytesIO(data))
    found = {finding.code: finding for finding in reversed(report.findings)}
    assert code in found, report.findings
    assert (found[code].line, found[code].severity) == (line, severity)
    assert f"on line {line}" in found[code].message
    assert text in found[code].message
    if severity is Severity.ERROR:
        assert report.describe_errors().startswith("Dataset validation failed: ")
        assert found[code].message in report.describe_errors()
