"""Takes one secret out of a stream of bytes, wherever the blocks of the stream are cut."""

_MARK = b"[key]"


class Scrubber:
    """Holds back no more than the end of a block that could be the beginning of the secret."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self._held = b""

    def whole(self, content: bytes) -> bytes:
        """All of a content without the secret."""
        return content.replace(self._secret, _MARK) if self._secret else content

    def pass_on(self, block: bytes) -> bytes:
        """The next bytes that are certainly free of the secret."""
        content = self.whole(self._held + block)
        size = self._overlap(content)
        self._held = content[len(content) - size :]
        return content[: len(content) - size]

    def rest(self) -> bytes:
        """What was held back at the end."""
        rest, self._held = self._held, b""
        return rest

    def _overlap(self, content: bytes) -> int:
        most = min(len(self._secret) - 1, len(content))
        return next((size for size in range(most, 0, -1) if content.endswith(self._secret[:size])), 0)
