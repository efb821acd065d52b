"""The models that come with the product, served: their own chat template, and exactly what transformers generates."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from local_platform.basemodels.shipped import shipped
from local_platform.serving.engine import LocalEngine
from local_platform.serving.planning import plan_requests, read_prompts
from local_platform.serving.requests import Delta, GenerateRequest
from local_platform.serving.wire import ChatBody

Run = Callable[[LocalEngine, Sequence[GenerateRequest]], list[Delta]]
QUESTIONS = ("Repeat: silver dragon", "What is the capital of Japan?", "I was charged twice for my order, what now?")


@pytest.mark.parametrize("directory", [model.directory for model in shipped()], ids=lambda path: path.name)
def test_chats_equal_generate(directory: Path, run: Run) -> None:
    engine = LocalEngine(directory, "cpu")
    plain: Any = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    requests: list[GenerateRequest] = []
    for question in QUESTIONS:
        messages = [{"role": "user", "content": question}]
        body = ChatBody.model_validate({"model": "m", "messages": messages, "temperature": 0, "max_tokens": 30})
        prompts = read_prompts(engine.vocabulary, body, None)
        requests += plan_requests(body, prompts, engine.context_length, None)
    for request, delta in zip(requests, run(engine, requests), strict=True):
        prompt = torch.tensor([request.prompt_ids])
        output = plain.generate(prompt, max_new_tokens=30, do_sample=False)[0, prompt.shape[1] :].tolist()
        assert delta.text == engine.vocabulary.decode(output)
        assert delta.sampled == len(output)
        assert delta.finish_reason == "stop"
    engine.close()
