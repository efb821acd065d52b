"""Files that are not JSONL at all, told from their first bytes, so that the message can say what they are."""

import re
from typing import NamedTuple


class Wrong(NamedTuple):
    """Why the file as a whole cannot be read."""

    code: str
    detail: str


_PACKED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip (or a spreadsheet)",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
}
_BINARY = {
    b"PAR1": "Parquet",
    b"%PDF": "PDF",
    b"ARROW1": "Arrow",
    b"SQLite format 3\x00": "SQLite",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"Obj\x01": "Avro",
    b"\x80\x04": "a Python pickle",
}
_UTF = {b"\xff\xfe\x00\x00": "UTF-32", b"\x00\x00\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_HTML = re.compile(rb"\s*<(!doctype|html|head|body|\?xml|!--)", re.IGNORECASE)
_CSV = re.compile(rb'[\w "]{1,40}([,;\t][\w "]{1,40}){1,30}\r?\n?\Z')


def sniff(head: bytes, first_line: bytes) -> Wrong | None:
    """What is wrong with a file whose first bytes are `head`, or None when it may be JSONL.

    `first_line` is the first line that is not blank, without byte order mark.
    """
    for table, code in ((_UTF, "utf16"), (_PACKED, "compressed"), (_BINARY, "binary_file")):
        for magic, name in table.items():
            if head.startswith(magic):
                return Wrong(code, f"it is {name}" if code != "utf16" else f"it is encoded as {name}")
    if head[1:2] == b"\x00" or head[:1] == b"\x00":
        return Wrong("utf16", "every other byte is NUL, as in UTF-16") if head[:4].count(0) == 2 else None
    if _HTML.match(first_line):
        return Wrong("html_page", "it starts with a markup tag")
    if first_line.lstrip().startswith(b"["):
        return Wrong("json_array", "it starts with '['")
    if first_line.strip() == b"{":
        return Wrong("json_document", "the first line is a lone '{'")
    if _CSV.match(first_line):
        return Wrong("csv_file", "the first line is a list of column names")
    return None
