"""The scripted model against the official SDK: what it sends is what the SDK's types and streams expect."""

from collections.abc import Callable, Generator
from typing import Any

import anthropic
import pytest
from anthropic.types import TextBlock, ToolUseBlock

from pilotlight.scripted_model import ScriptedModel, TextPart, ToolPart, Turn
from tests.fixtures.asgi import serving

KEY = "sk-ant-scripted"
ASK: dict[str, Any] = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "How many rows?"}],
}
LOOK = ToolPart(name="count_rows", input={"dataset": "tickets"})


@pytest.fixture
def scripted() -> Generator[Callable[..., tuple[ScriptedModel, anthropic.Anthropic]]]:
    servers: list[Any] = []

    def start(*turns: Turn, key: str = KEY) -> tuple[ScriptedModel, anthropic.Anthropic]:
        model = ScriptedModel(turns, key=KEY)
        servers.append(serving(model.app()))
        client = anthropic.Anthropic(api_key=key, base_url=servers[-1].__enter__(), max_retries=0, timeout=10)
        servers.append(client)
        return model, client

    yield start
    for server in reversed(servers):
        server.__exit__(None, None, None)


def test_words_and_tools(scripted: Any) -> None:
    model, client = scripted(Turn(parts=[TextPart(text="Let me look."), LOOK], input_tokens=9, output_tokens=4))
    message = client.messages.create(**ASK, system="You plan.")
    assert isinstance(message.content[0], TextBlock)
    assert isinstance(message.content[1], ToolUseBlock)
    assert (message.content[0].text, message.content[1].input) == ("Let me look.", LOOK.input)
    assert (message.stop_reason, message.usage.input_tokens, message.usage.output_tokens) == ("tool_use", 9, 4)
    assert model.received[0].body["system"] == "You plan."


def test_a_stream_is_the_same_message(scripted: Any) -> None:
    turn = Turn(parts=[TextPart(text="Let me look at the rows."), LOOK], cache_read_input_tokens=7)
    _, client = scripted(turn, turn)
    whole = client.messages.create(**ASK)
    with client.messages.stream(**ASK) as stream:
        words = list(stream.text_stream)
        streamed = stream.get_final_message()
    assert len(words) > 1
    assert "".join(words) == "Let me look at the rows."
    assert [block.model_dump(exclude={"id"}) for block in streamed.content] == [
        block.model_dump(exclude={"id"}) for block in whole.content
    ]
    assert (streamed.usage.model_dump(), streamed.stop_reason) == (whole.usage.model_dump(), whole.stop_reason)


def test_words_end_at_max_tokens(scripted: Any) -> None:
    _, client = scripted(Turn.say("word " * 100))
    message = client.messages.create(**ASK | {"max_tokens": 5})
    assert (len(message.content[0].text), message.stop_reason, message.usage.output_tokens) == (20, "max_tokens", 5)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, anthropic.BadRequestError),
        (403, anthropic.PermissionDeniedError),
        (429, anthropic.RateLimitError),
        (529, anthropic.InternalServerError),
    ],
)
def test_failures(scripted: Any, status: int, kind: type[anthropic.APIStatusError]) -> None:
    model, client = scripted(Turn.fail(status, "not now"))
    with pytest.raises(kind, match="not now") as caught:
        client.messages.create(**ASK)
    assert caught.value.status_code == status
    assert len(model.received) == 1


def test_the_end_of_the_script_is_an_error(scripted: Any) -> None:
    _, client = scripted()
    with pytest.raises(anthropic.InternalServerError, match="script is over"):
        client.messages.create(**ASK)


def test_broken_answers(scripted: Any) -> None:
    _, client = scripted(Turn.say("one two three", break_after=30), Turn.say("one two three", break_after=4))
    with pytest.raises(anthropic.APIConnectionError):
        client.messages.create(**ASK)
    with client.messages.stream(**ASK) as stream, pytest.raises(Exception, match=r"closed|incomplete|peer"):
        list(stream.text_stream)


def test_the_key_is_checked_and_such_calls_are_not_in_the_log(scripted: Any) -> None:
    model, client = scripted(Turn.say("hello"), key="sk-ant-wrong")
    with pytest.raises(anthropic.AuthenticationError):
        client.messages.create(**ASK)
    assert model.received == []
