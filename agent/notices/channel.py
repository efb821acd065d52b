"""What a way of notification is, and which of them the settings ask for."""

from typing import Protocol

from pilotlight.settings import Settings


class NotDeliveredError(Exception):
    """An attempt failed. `final`: the receiver wants no more of it; `wait`: the seconds it asks for at least."""

    def __init__(self, reason: str, *, final: bool = False, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.final, self.wait = final, wait


class Channel(Protocol):
    """A way of notification."""

    async def send(self, notice_id: str, body: bytes) -> None:
        """Deliver. Raises NotDeliveredError; takes no longer than half a minute."""
        ...

    async def aclose(self) -> None:
        """Let go of what it holds."""
        ...


def open_channels(settings: Settings) -> dict[str, Channel]:
    """The channels by name. Raises FailedPrecondition for settings that cannot be meant."""
    from agent.notices.command import CommandChannel
    from agent.notices.webhook import WebhookChannel

    channels: dict[str, Channel] = {}
    if url := settings.webhook_url.get_secret_value():
        channels["webhook"] = WebhookChannel(url, settings.webhook_secret.get_secret_value())
    if settings.notify_command:
        channels["command"] = CommandChannel(settings.notify_command, settings.home)
    return channels
