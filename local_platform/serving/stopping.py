"""Stop strings over a stream of text."""


class StopWatch:
    """Holds back text that may be the beginning of a stop string; the stop string itself is never released."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held = ""
        self.stopped = False

    def feed(self, text: str, *, final: bool = False) -> str:
        """Characters that are safe to show. After a stop string (`stopped`) always empty."""
        if self.stopped:
            return ""
        text = self._held + text
        hits = [place for place in (text.find(stop) for stop in self._stops) if place >= 0]
        if hits:
            self.stopped, self._held = True, ""
            return text[: min(hits)]
        keep = 0 if final else self._overlap(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def _overlap(self, text: str) -> int:
        longest = min(len(text), max((len(stop) - 1 for stop in self._stops), default=0))
        for size in range(longest, 0, -1):
            if any(stop.startswith(text[-size:]) for stop in self._stops):
                return size
        return 0
