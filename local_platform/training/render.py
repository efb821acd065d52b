"""From a dataset row to token ids, and which of them carry loss.

Loss falls on what the model has to write itself: each assistant turn of weight 1 with its end-of-turn token, and
nothing else. Where a turn begins and ends comes from the template's `{% generation %}` markers when it has one per
assistant turn, else from rendering the conversation up to the turn with and without it. Templates that render
history differently from the last turn (they drop old reasoning) make neither possible for the whole conversation;
it is then unrolled into one example per assistant turn, as rows with reasoning traces always are [P31].
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

from local_platform.content import ContentEncoder
from local_platform.training.messages import REASONING, Message, to_template, without_reasoning
from local_platform.training.rows import Example
from pilotlight.dataset import read_pair
from pilotlight.errors import InvalidArgument

Span = tuple[int, int]


@dataclass(frozen=True)
class Rendered:
    """A conversation as the template writes it, and the character spans to train on."""

    text: str
    spans: list[Span]


class Renderer:
    """Renders rows with one tokenizer and one chat template. Raises InvalidArgument, without a line number."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, template: str | None, max_tokens: int) -> None:
        chosen = template or tokenizer.chat_template
        if not isinstance(chosen, str) or not chosen:
            raise InvalidArgument("The base model has no chat template.", hint="Give one as jinja_template.")
        self.tokenizer = tokenizer
        self._template = chosen
        self._marked = re.search(r"\{%-?\s*generation\s*-?%\}", chosen) is not None
        self._special = dict(tokenizer.special_tokens_map)
        self._content = ContentEncoder(tokenizer.backend_tokenizer)
        self._end = tokenizer.eos_token_id
        self._max_tokens = max_tokens

    def examples(self, row: dict[str, Any], index: int, line: int) -> list[Example]:
        """What one dataset row trains on: one example, or one per assistant turn; none if all weights are 0."""
        given = row.get("weight")
        weight = 1.0 if given is None else float(given)
        return [
            Example(*self._encode(rendered), weight=weight, row=index, line=line)
            for rendered in self.render(row)
            if rendered.spans
        ]

    def pair(self, row: dict[str, Any], index: int, line: int) -> list[Example]:
        """The preferred and the other answer of a preference row, each after the prompt. Only answers carry loss."""
        pair = read_pair(row)
        if pair.weight < 0:
            raise InvalidArgument("The weight of a pair is negative.", hint="Swap its answers instead.")
        tools = self._content.mask(pair.tools)
        prompt = without_reasoning(to_template(pair.prompt))
        answers = (to_template([answer])[0] for answer in (pair.preferred, pair.other))
        texts = (self._last_turn(self._content.mask([*prompt, answer]), tools) for answer in answers)
        return [Example(*self._encode(text), weight=pair.weight, row=index, line=line) for text in texts]

    def render(self, row: dict[str, Any]) -> list[Rendered]:
        """The texts of a row and their trained spans."""
        raw, tools = row.get("messages"), self._content.mask(row.get("tools") or None)
        messages: list[Message] = self._content.mask(to_template(raw))
        turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
        trained = [i for i in turns if messages[i]["weight"] != 0]
        if not any(messages[i].get(REASONING) for i in turns):
            whole = self._whole(messages, turns, trained, tools)
            if whole is not None:
                return [whole]
        return [self._last_turn([*without_reasoning(messages[:i]), messages[i]], tools) for i in trained]

    def _whole(self, messages: list[Message], turns: list[int], trained: list[int], tools: Any) -> Rendered | None:
        """All turns in one text, or None when the template does not allow it."""
        text, blocks = self._apply(messages, tools)
        if len(blocks) == len(turns):
            return Rendered(text, [blocks[turns.index(i)] for i in trained])
        spans = [self._difference(messages[: i + 1], tools) for i in trained]
        if any(not text.startswith(turn_text) for turn_text, _ in spans):
            return None
        return Rendered(text, [span for _, span in spans])

    def _last_turn(self, messages: list[Message], tools: Any) -> Rendered:
        """Only the last message carries loss."""
        text, blocks = self._apply(messages, tools)
        if len(blocks) == sum(message["role"] == "assistant" for message in messages):
            return Rendered(text, blocks[-1:])
        text, span = self._difference(messages, tools)
        return Rendered(text, [span])

    def _difference(self, messages: list[Message], tools: Any) -> tuple[str, Span]:
        """The text up to and with the last message, and where that message's own part begins."""
        prompt, _ = self._apply(messages[:-1], tools, prompt=True)
        text, _ = self._apply(messages, tools)
        if not text.startswith(prompt):
            raise InvalidArgument(
                "The chat template does not write an assistant turn right after its generation prompt, "
                "so the tokens to train on cannot be told from the prompt.",
                hint="Use a template with {% generation %} markers.",
            )
        return text, (len(prompt), len(text))

    def _apply(self, messages: list[Message], tools: Any, *, prompt: bool = False) -> tuple[str, list[Span]]:
        """The template's text and its generation blocks in characters."""
        marked = self._marked and not prompt
        texts, blocks = render_jinja_template(
            conversations=[messages],
            tools=tools,
            chat_template=self._template,
            return_assistant_tokens_mask=marked,
            add_generation_prompt=prompt,
            **self._special,  # pyright: ignore[reportArgumentType] template variables, not the named parameters
        )
        spans: list[Span] = [(int(start), int(end)) for start, end in blocks[0]] if marked else []
        return texts[0], spans

    def _encode(self, rendered: Rendered) -> tuple[list[int], list[Span]]:
        """Token ids, cut at the context length, and the token spans that carry loss."""
        encoding = self._content.encode(rendered.text)
        ids: list[int] = encoding.ids
        spans = [self._token_span(encoding, ids, span) for span in rendered.spans if span[0] < span[1]]
        if any(start is None for start, _ in spans) or not self._is_prefix(ids, rendered, spans):
            ids, spans = self._encode_pieces(rendered)
        kept = [(start, min(end, self._max_tokens)) for start, end in spans if start is not None]
        return ids[: self._max_tokens], [(start, end) for start, end in kept if start < end]

    def _token_span(self, encoding: Any, ids: list[int], span: Span) -> tuple[int | None, int]:
        """Characters to tokens; the start is None when a token lies across it."""
        start, last = encoding.char_to_token(span[0]), encoding.char_to_token(span[1] - 1)
        if start is None or last is None or encoding.token_to_chars(start)[0] < span[0]:
            return None, 0
        return start, self._end_turn(ids, start, last + 1)

    def _end_turn(self, ids: Sequence[int], start: int, end: int) -> int:
        """The span's end moved to just behind the end-of-turn token, in the span or right after it."""
        if end < len(ids) and ids[end] == self._end and self._end not in ids[start:end]:
            return end + 1
        for position in range(end - 1, start - 1, -1):
            if ids[position] == self._end:
                return position + 1
        return end

    def _is_prefix(self, ids: list[int], rendered: Rendered, spans: Sequence[tuple[int | None, int]]) -> bool:
        """Whether the prompt alone has the same ids. Only a space or a letter before a turn can merge into it."""
        for (first, _), (start, _) in zip((s for s in rendered.spans if s[0] < s[1]), spans, strict=True):
            if first and (rendered.text[first - 1] == " " or rendered.text[first - 1].isalnum()):
                prompt = self._content.encode(rendered.text[:first]).ids
                if ids[:start] != prompt:
                    return False
        return True

    def _encode_pieces(self, rendered: Rendered) -> tuple[list[int], list[tuple[int | None, int]]]:
        """Prompt and turns tokenised apart, so that the prompt's ids are those seen when the model is used."""
        ids: list[int] = []
        spans: list[tuple[int | None, int]] = []
        done = 0
        for first, last in rendered.spans:
            ids += self._content.encode(rendered.text[done:first]).ids
            start = len(ids)
            ids += self._content.encode(rendered.text[first:last]).ids
            spans.append((start, len(ids)))
            done = last
        ids += self._content.encode(rendered.text[done:]).ids
        return ids, [(start, self._end_turn(ids, start or 0, end)) for start, end in spans]
