"""Every finding there is: its severity, what it says, and what to do about it.

An error makes the dataset unusable and is refused at upload; a warning is shown at inspection. Texts follow the
documented ones where there are any [P41].
"""

from enum import StrEnum
from typing import NamedTuple


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    WARNING = "warning"


class Code(NamedTuple):
    """One kind of finding. The message is completed by ` on line N` and a detail."""

    severity: Severity
    message: str
    hint: str


_E, _W = Severity.ERROR, Severity.WARNING

CODES: dict[str, Code] = {
    # The file as a whole.
    "empty_file": Code(_E, "the file is empty", "Upload a JSONL file with at least 3 rows."),
    "compressed": Code(_E, "the file is compressed", "Unpack it and upload the JSONL file itself."),
    "binary_file": Code(_E, "the file is not text", "Export it as JSONL: one JSON object per line."),
    "utf16": Code(_E, "the file is not UTF-8", "Save it as UTF-8, for example with `iconv -f UTF-16 -t UTF-8`."),
    "html_page": Code(_E, "the file is an HTML page", "The download gave a web page; fetch the data file itself."),
    "json_array": Code(
        _E, "the file is a JSON array", "Write one object per line: `jq -c '.[]' data.json > data.jsonl`."
    ),
    "json_document": Code(
        _E, "a JSON object spans several lines", "Write each object on one line: `jq -c . data.json`."
    ),
    "csv_file": Code(_E, "the file looks like CSV", "Convert it: one JSON object with `messages` per line."),
    "too_few_rows": Code(_E, "the dataset has fewer than 3 rows", "Add rows; the minimum is 3."),
    "too_many_rows": Code(_E, "the dataset has more than 3,000,000 rows", "Split it; the maximum is 3 million rows."),
    # A line.
    "line_too_long": Code(_E, "the line is longer than 10 MB", "Shorten the row or split it into several."),
    "not_utf8": Code(_E, "invalid UTF-8", "Save the file as UTF-8."),
    "nul_byte": Code(_E, "NUL byte", "Remove the NUL bytes; the file may be damaged."),
    "control_character": Code(_E, "invalid JSON", "Escape control characters in strings, such as a line break as \\n."),
    "invalid_json": Code(_E, "invalid JSON", "Write the row with a JSON library."),
    "truncated": Code(_E, "invalid JSON", "The line ends early; the file may be cut off or a row broken over lines."),
    "single_quotes": Code(_E, "invalid JSON", "Use double quotes; in Python write rows with json.dumps."),
    "several_objects": Code(_E, "invalid JSON", "Write one JSON object per line."),
    "non_finite_number": Code(
        _E, "invalid JSON", "NaN and Infinity are not JSON; leave the field out or write a number."
    ),
    "number_too_large": Code(_E, "invalid JSON", "Write the number as a string or make it smaller."),
    "lone_surrogate": Code(_E, "invalid JSON", "Half of a surrogate pair is no character; re-encode the text."),
    "too_deep": Code(_E, "invalid JSON", "Values are nested too deeply; flatten the row."),
    "duplicate_key": Code(_E, "duplicate key", "Keep one; which of them counts is undefined."),
    "not_an_object": Code(_E, "the row is not a JSON object", 'Write {"messages": [...]} on each line.'),
    # A row.
    "missing_messages": Code(
        _E, "Missing required field 'messages'", 'Each row is {"messages": [{"role", "content"}]}.'
    ),
    "messages_type": Code(_E, "'messages' is not a list of objects", 'Write "messages": [{"role", "content"}, ...].'),
    "empty_messages": Code(_E, "'messages' is empty", "Give at least a user and an assistant message."),
    "mixed_formats": Code(_E, "the row has another format than the rows before", "Keep one format per dataset."),
    "missing_assistant": Code(_E, "no assistant message", "Add the answer to learn; other rows of the file have one."),
    "missing_user": Code(_W, "no user message", "The model learns to speak unprompted; add what the user said."),
    "missing_role": Code(
        _E, "Missing required field 'role'", "Each message needs a role: system, user, assistant or tool."
    ),
    "unknown_role": Code(_E, "unknown role", "Roles are system, user, assistant and tool."),
    "system_not_first": Code(_E, "a system message is not first", "Put at most one system message, at the start."),
    "missing_content": Code(
        _E, "Missing required field 'content'", "Give the text, or tool_calls on an assistant message."
    ),
    "content_type": Code(_E, "'content' is neither text nor a list of parts", "Write a string or a list of parts."),
    "empty_content": Code(_E, "empty content", "Remove the message or give it a text."),
    "content_part": Code(_E, "invalid content part", 'Parts are {"type": "text", "text": ...} or image_url.'),
    "image_url": Code(_E, "invalid image", "Embed PNG or JPEG as data:image/png;base64,...; URLs are not fetched."),
    "message_weight": Code(
        _E, "message weight is not 0 or 1", "Use 0 (do not learn) or 1; scale whole rows by their weight."
    ),
    "sample_weight": Code(_E, "the row's weight is not a number", "Write a finite number, such as 1.0."),
    "mixed_weights": Code(_E, "some rows have a weight and this one has none", "Give every row a weight, or none."),
    "tools": Code(_E, "invalid tools", 'Write [{"type": "function", "function": {"name", "parameters"}}].'),
    "tool_calls": Code(
        _E, "invalid tool_calls", 'Write [{"id", "type": "function", "function": {"name", "arguments"}}].'
    ),
    "reasoning_content": Code(_E, "'reasoning_content' is not text", "Write it as a string, on assistant messages."),
    "preference_pair": Code(_E, "invalid preference pair", "Each side is a list with one assistant message."),
    "equal_pair": Code(_E, "both answers of the pair are the same", "Remove the row; it prefers nothing."),
    "differing_prompts": Code(
        _E,
        "the two sides of the pair answer different prompts",
        "Give both the same messages and tools before the answer.",
    ),
    "prompt_answered": Code(
        _E, "the prompt of the pair ends with an assistant message", "End it with what is to be answered."
    ),
    "negative_weight": Code(_E, "the weight of a pair is negative", "Swap its answers instead."),
    # What trains, but probably not as meant.
    "bom": Code(_W, "byte order mark", "It is skipped; save as UTF-8 without BOM."),
    "crlf": Code(_W, "Windows line ends", "They are accepted; save with LF to be portable."),
    "blank_line": Code(_W, "blank line", "It is skipped."),
    "unknown_field": Code(_W, "unknown field", "It is ignored in training; check the spelling."),
    "weight_ignored": Code(
        _W, "weight on a message that is not the assistant's", "Only assistant messages are learned."
    ),
    "nothing_learned": Code(_W, "every assistant message has weight 0", "The row adds nothing; set a weight to 1."),
    "ends_without_assistant": Code(
        _W, "the last message is not the assistant's", "What follows the last answer is unused."
    ),
    "repeated_role": Code(_W, "two messages in a row of the same role", "Merge them, or check for a lost answer."),
    "blank_content": Code(_W, "content is only white space", "Check where the text was lost."),
    "undeclared_tool": Code(_W, "a tool call names a function that 'tools' does not declare", "Declare it in 'tools'."),
    "tool_arguments": Code(_W, "tool arguments are not JSON", "Write arguments as a JSON object in a string."),
    "tool_without_call": Code(_W, "a tool message without a tool call before it", "Add the assistant's tool_calls."),
    "image_part": Code(_W, "image part", "The local base models read text only; the row cannot be trained on here."),
    "almost_equal_pair": Code(
        _W, "the answers of the pair differ in white space only", "Check the row; it prefers next to nothing."
    ),
    "mixed_pair_fields": Code(
        _W, "fields of both pair formats in one row", "'chosen' and 'rejected' are used; remove the others."
    ),
    "replacement_character": Code(
        _W, "U+FFFD in the text", "A wrong decoding lost characters; export the source again."
    ),
}
