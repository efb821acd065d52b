"""From chat messages to prompt token IDs, through the model's own chat template."""

from typing import Any

import jinja2

from local_platform.serving.vocabulary import Vocabulary
from local_platform.serving.wire import ChatBody, Message
from pilotlight.errors import InvalidArgument


def render_chat(vocabulary: Vocabulary, body: ChatBody, template: str | None) -> str:
    """The prompt up to the assistant's turn, contents masked. `template` replaces the checkpoint's.

    Raises InvalidArgument.
    """
    if template is None and not vocabulary.tokenizer.chat_template:
        raise InvalidArgument("This model has no chat template.", hint="Use completions with a plain prompt.")
    content = vocabulary.content
    messages = content.mask([plain_message(message) for message in body.messages])
    offered = [tool.model_dump(exclude_none=True) for tool in body.tools or []] if body.offers_tools else []
    tools = content.mask(offered) or None
    extra: dict[str, Any] = {} if body.thinks is None else {"enable_thinking": body.thinks}
    try:
        return vocabulary.tokenizer.apply_chat_template(
            messages, tools=tools, chat_template=template, add_generation_prompt=True, tokenize=False, **extra
        )
    except (jinja2.TemplateError, TypeError, ValueError) as error:
        raise InvalidArgument(f"The model's chat template refuses these messages: {error}") from error


def encode_chat(vocabulary: Vocabulary, body: ChatBody, template: str | None) -> tuple[str, list[int]]:
    """Text and IDs of the prompt; `prompt_truncate_len` drops the oldest messages until it fits, system ones last."""
    while True:
        text = render_chat(vocabulary, body, template)
        # The template writes the special tokens itself.
        ids: list[int] = vocabulary.content.encode(text).ids
        if body.prompt_truncate_len is None or len(ids) <= body.prompt_truncate_len or len(body.messages) == 1:
            return vocabulary.content.unmask(text), ids
        first = next((i for i, message in enumerate(body.messages[:-1]) if message.role != "system"), 0)
        kept = [message for i, message in enumerate(body.messages) if i != first]
        body = body.model_copy(update={"messages": kept})


def plain_message(message: Message) -> dict[str, Any]:
    """The message as templates expect it: text parts joined, absent fields dropped. Raises InvalidArgument."""
    plain = message.model_dump(exclude_none=True)
    if isinstance(message.content, list):
        odd = {part.type for part in message.content} - {"text"}
        if odd:
            raise InvalidArgument(
                f"Content parts of type {', '.join(sorted(odd))} are not supported: text models only."
            )
        plain["content"] = "".join(part.text or "" for part in message.content)
    plain.setdefault("content", "")
    return plain
