"""The built-in engine: one thread per base model, continuous batching, adapters loaded while it serves.

The thread alone touches the model. Between two steps it takes commands (load, unload), drops finished and cancelled
rows, and admits waiting ones; a step that fails fails its rows with Internal and leaves the engine running.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

import torch

from local_platform.serving.batch import Batch, prefill
from local_platform.serving.requests import GenerateRequest
from local_platform.serving.row import Row
from local_platform.serving.sampler import choose
from local_platform.serving.stream import RowStream, deliver
from local_platform.serving.vocabulary import Vocabulary
from local_platform.serving.weights import Weights
from pilotlight.errors import InvalidArgument, NotFound, PilotlightError, ResourceExhausted, Unavailable

MAX_ROWS = 32
"""Rows of the running batch."""
MAX_WAITING = 512
"""Sequences that may wait; beyond, 429."""
PREFILL_TOKENS = 16_384
"""Padded prompt tokens admitted at once; a longer single prompt is admitted alone."""

_log = logging.getLogger(__name__)
Entry = tuple[Row, RowStream]


class LocalEngine:
    """See `interface.InferenceEngine`. Constructing it loads the weights (seconds) and starts the thread."""

    def __init__(
        self,
        base_directory: Path,
        device: str = "auto",
        *,
        merged_adapter: Path | None = None,
        threads: int = 1,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self.vocabulary = Vocabulary(base_directory)
        self._weights = Weights(base_directory, device, merged_adapter)
        self.context_length = self._weights.context_length
        self._ends = self._weights.end_tokens(self.vocabulary.tokenizer.eos_token_id)
        self._max_waiting = max_waiting
        self._wake = threading.Condition()
        self._waiting: deque[Entry] = deque()
        self._commands: deque[tuple[Callable[[], None], Future[None], str | None]] = deque()
        self._directories: dict[str, Path] = {}
        self._streams: dict[int, RowStream] = {}
        self._batch: Batch | None = None
        self._closed = False
        self.last_used = time.monotonic()
        self._thread = threading.Thread(
            target=self._run, args=(threads,), name=f"engine-{base_directory.name}", daemon=True
        )
        self._thread.start()

    @property
    def active(self) -> int:
        """Sequences that wait or run now."""
        with self._wake:
            return len(self._waiting) + len(self._streams)

    @property
    def adapters(self) -> frozenset[str]:
        """Names of the loaded adapters."""
        with self._wake:
            return frozenset(self._directories)

    def load_adapter(self, name: str, directory: Path) -> None:
        """See the protocol."""
        if self._directories.get(name) == directory:
            return

        def load() -> None:
            if name in self._directories:
                if self._directories[name] != directory:
                    raise InvalidArgument(f"Another adapter is loaded as {name}.", hint="Unload it first.")
                return
            self._weights.load(name, directory)
            with self._wake:
                self._directories[name] = directory

        self._send(load).result()

    def unload_adapter(self, name: str) -> None:
        """See the protocol."""
        with self._wake:
            if self._directories.pop(name, None) is None:
                raise NotFound(f"No adapter {name} is loaded.")
        self._send(lambda: self._weights.unload(name), unused=name)

    def generate(self, requests: Sequence[GenerateRequest]) -> RowStream:
        """See the protocol."""
        for request in requests:
            self._check(request)
        rows = [Row(index, request, self.vocabulary, self._ends) for index, request in enumerate(requests)]
        stream = RowStream(rows, asyncio.get_running_loop(), self._poke)
        with self._wake:
            self._refuse_closed()
            for name in {request.adapter for request in requests} - {None, *self._directories}:
                raise NotFound(f"No adapter {name} is loaded.")
            if len(self._waiting) + len(rows) > self._max_waiting:
                raise ResourceExhausted("The deployment is saturated: its queue is full.", hint="Retry with back-off.")
            self._waiting.extend((row, stream) for row in rows)
            self.last_used = time.monotonic()
            self._wake.notify()
        return stream

    async def score(
        self, prompt_ids: Sequence[int], continuation_ids: Sequence[int], adapter: str | None = None
    ) -> list[float]:
        """See the protocol."""
        both = (*prompt_ids, *continuation_ids)
        request = GenerateRequest(both, 0, adapter, prompt_logprobs_from=len(prompt_ids), incremental=False)
        return [token.logprob or 0.0 async for delta in self.generate([request]) for token in delta.prompt_tokens]

    def close(self) -> None:
        """See the protocol."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _check(self, request: GenerateRequest) -> None:
        length, size = len(request.prompt_ids), self._weights.vocabulary_size
        if length == 0:
            raise InvalidArgument("The prompt is empty.")
        if length + request.max_tokens > self.context_length:
            raise InvalidArgument(
                f"The prompt has {length} tokens and max_tokens is {request.max_tokens}: "
                f"more than the context length of {self.context_length}."
            )
        if not all(0 <= token < size for token in (*request.prompt_ids, *request.sampling.logit_bias)):
            raise InvalidArgument(f"A token ID is outside the vocabulary of {size}.")

    def _refuse_closed(self) -> None:
        if self._closed:
            raise Unavailable("The engine has been stopped.")

    def _poke(self) -> None:
        with self._wake:
            self._wake.notify()

    def _send(self, act: Callable[[], None], unused: str | None = None) -> Future[None]:
        done: Future[None] = Future()
        with self._wake:
            self._refuse_closed()
            self._commands.append((act, done, unused))
            self._wake.notify()
        return done

    # The engine thread from here on.

    def _run(self, threads: int) -> None:
        torch.set_num_threads(threads)
        try:
            while self._await_work():
                self._obey()
                self._turn()
        finally:
            with self._wake:
                self._closed = True
            self._abandon()

    def _await_work(self) -> bool:
        with self._wake:
            while not (self._closed or self._waiting or self._batch or self._commands):
                self._wake.wait()
            return not self._closed

    def _obey(self) -> None:
        with self._wake:
            commands, self._commands = self._commands, deque()
            used = {row.request.adapter for row, _ in self._waiting}
        used |= {row.request.adapter for row in self._batch.rows} if self._batch else set()
        while commands:
            act, done, unused = commands.popleft()
            if unused is not None and unused in used:
                with self._wake:  # order matters: a later load of the same name waits behind this unload
                    self._commands.extendleft([*reversed(commands), (act, done, unused)])
                return
            try:
                act()
            except (PilotlightError, RuntimeError, OSError, ValueError, KeyError) as error:
                done.set_exception(error)
            except BaseException as error:
                done.set_exception(error)
                raise
            else:
                done.set_result(None)

    def _turn(self) -> None:
        failed: Exception | None = None
        touched: list[Row] = []
        try:
            touched += self._batch.rows if self._batch else []
            self._drop_done(self._batch)
            if self._batch:
                self._choose(self._batch, self._batch.step(self._weights))
            fresh = self._admit()
            touched += fresh
            if fresh:
                self._start(fresh)
        except RuntimeError as error:  # torch's own: out of memory, a broken kernel
            _log.exception("An engine step failed; its %d rows are failed with it.", len(touched))
            failed, self._batch = error, None
        self._settle(touched, failed)

    def _admit(self) -> list[Row]:
        room = MAX_ROWS - (len(self._batch.rows) if self._batch else 0)
        fresh: list[Row] = []
        longest = 0
        with self._wake:
            if any(row.cancelled for row, _ in self._waiting):
                self._waiting = deque(entry for entry in self._waiting if not entry[0].cancelled)
            while self._waiting and len(fresh) < room:
                row, stream = self._waiting[0]
                longest = max(longest, len(row.prompt_ids))
                if fresh and longest * (len(fresh) + 1) > PREFILL_TOKENS:
                    break
                self._waiting.popleft()
                fresh.append(row)
                self._streams[id(row)] = stream
        return fresh

    def _start(self, rows: list[Row]) -> None:
        batch, logits = prefill(self._weights, rows)
        for row in rows:
            if row.request.max_tokens == 0:
                row.end_without_output()
        live = [place for place, row in enumerate(rows) if not row.done]
        batch.keep(live)
        if not live:
            return
        self._choose(batch, logits[live])
        if not batch.rows:
            return
        if self._batch:
            self._batch.join(batch)
        else:
            self._batch = batch

    def _choose(self, batch: Batch, logits: torch.Tensor) -> None:
        tokens = choose(logits, batch.rows).tolist()
        for place, (row, token) in enumerate(zip(batch.rows, tokens, strict=True)):
            wanted = row.request.top_logprobs is not None
            row.accept(token, logits[place].log_softmax(dim=-1) if wanted else None)
        self._drop_done(batch)

    def _drop_done(self, batch: Batch | None) -> None:
        if batch is None:
            return
        batch.keep([place for place, row in enumerate(batch.rows) if not row.done])
        if batch is self._batch and not batch.rows:
            self._batch = None

    def _settle(self, rows: list[Row], failed: Exception | None) -> None:
        news: list[tuple[RowStream, object]] = []
        with self._wake:
            for row in rows:
                stream = self._streams[id(row)]
                if failed or row.done:
                    del self._streams[id(row)]
                if failed:
                    news.append((stream, failed))
                elif delta := row.take():
                    news.append((stream, delta))
        deliver(news)

    def _abandon(self) -> None:
        gone = Unavailable("The engine has been stopped.")
        with self._wake:
            streams = {*self._streams.values(), *(stream for _, stream in self._waiting)}
            self._streams.clear()
            self._waiting.clear()
            commands, self._commands = self._commands, deque()
        self._batch = None
        deliver([(stream, gone) for stream in streams])
        for _, done, _ in commands:
            done.set_exception(gone)
