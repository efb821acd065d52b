"""`python -m agent.notices --test`: send a sample to every channel, once, and say how that went."""

import argparse
import asyncio
import json
import sys
import uuid

from agent.notices.channel import NotDeliveredError, open_channels
from agent.notices.message import compose
from agent.tables import NoticeRow
from pilotlight.clock import now, to_rfc3339
from pilotlight.errors import PilotlightError
from pilotlight.redaction import secrets_of, start_logging
from pilotlight.settings import Settings


def main() -> int:
    """0 when every channel took it."""
    parser = argparse.ArgumentParser(prog="python -m agent.notices", description=__doc__)
    parser.add_argument("--test", action="store_true", required=True, help="send a sample")
    parser.parse_args()
    redact = start_logging()
    settings = Settings()
    redact.learn(secrets_of(settings))
    try:
        return asyncio.run(_send(settings))
    except PilotlightError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1


async def _send(settings: Settings) -> int:
    channels, failed = open_channels(settings), 0
    if not channels:
        sys.stderr.write("No channel is set: give PILOTLIGHT_WEBHOOK_URL or PILOTLIGHT_NOTIFY_COMMAND.\n")
        return 1
    settings.home.mkdir(parents=True, exist_ok=True)
    for name, channel in channels.items():
        notice = _sample(settings, name)
        try:
            await channel.send(notice.id, compose(notice, settings.control_url))
            sys.stdout.write(f"{name}: delivered as {notice.id}\n")
        except NotDeliveredError as error:
            failed += 1
            sys.stdout.write(f"{name}: not delivered: {error}\n")
        finally:
            await channel.aclose()
    return 1 if failed else 0


def _sample(settings: Settings, channel: str) -> NoticeRow:
    data = {
        "session": f"accounts/{settings.account}/sessions/0-test",
        "sessionId": "0-test",
        "status": "test",
        "reason": "A sample, sent by `pilotlight notify --test`. No session has this ID.",
    }
    return NoticeRow(
        id=f"msg_{uuid.uuid4().hex}", channel=channel, session_id="0-test", status="test", data=json.dumps(data),
        time=to_rfc3339(now()), next_time="",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
