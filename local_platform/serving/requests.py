"""What goes into an engine and what comes out. Plain values: no tensors, no HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. Applied in this order: penalties, logit_bias, temperature, top_k, top_p, min_p."""

    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    top_k: int = 0
    """0 keeps all."""
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    """Over prompt and output, multiplicative; 1 is none."""
    frequency_penalty: float = 0.0
    """Over the output, per occurrence."""
    presence_penalty: float = 0.0
    """Over the output, once per token that occurred."""
    logit_bias: Mapping[int, float] = field(default_factory=dict[int, float])
    seed: str | None = None
    """The random numbers of a request depend on this text alone, never on who shares its batch; None is fresh."""

    @property
    def adjusts(self) -> bool:
        """Whether logits change before temperature."""
        penalties = (self.repetition_penalty, self.frequency_penalty, self.presence_penalty)
        return penalties != (1.0, 0.0, 0.0) or bool(self.logit_bias)


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One sequence to continue. With `max_tokens` 0 only the prompt is scored."""

    prompt_ids: tuple[int, ...]
    max_tokens: int
    adapter: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()
    """The text ends before the first of these, as OpenAI and the SDK's reference say; an old page said after it."""
    ignore_eos: bool = False
    top_logprobs: int | None = None
    """None: no log-probabilities; k: those of the chosen token and of the k most likely."""
    prompt_logprobs_from: int | None = None
    """Also return log-probabilities of prompt tokens from this position on."""
    incremental: bool = True
    """False: one delta per sequence, at its end."""


@dataclass(slots=True)
class TokenInfo:
    """One token and its place in the text. Log-probabilities are the model's own, before penalties and temperature."""

    id: int
    text: str
    offset: int
    """Character position in the generated text (or, for prompt tokens, in the prompt's text)."""
    logprob: float | None = None
    """None for the first prompt token and when none were asked for."""
    top: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    """(token id, logprob), most likely first."""


@dataclass(slots=True)
class Delta:
    """News of one sequence. Texts of all deltas of an index join to the whole text."""

    index: int
    text: str = ""
    tokens: list[TokenInfo] = field(default_factory=list[TokenInfo])
    """Tokens whose text begins in what was released so far; the end-of-sequence token is not among them."""
    prompt_tokens: list[TokenInfo] = field(default_factory=list[TokenInfo])
    """Filled in the first delta when prompt log-probabilities were asked for."""
    sampled: int = 0
    """Tokens that the model produced for this delta, end-of-sequence included: what usage counts."""
    finish_reason: FinishReason | None = None

    def absorb(self, later: "Delta") -> None:
        """Append `later`, which must be of the same index."""
        self.text += later.text
        self.tokens += later.tokens
        self.prompt_tokens += later.prompt_tokens
        self.sampled += later.sampled
        self.finish_reason = later.finish_reason
