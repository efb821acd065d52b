"""OpenAI-compatible inference, under /inference/v1 and, because the SDK with a base_url goes there, under /v1.

Errors have the inference shape whatever raised them (refusals.py). Middleware in front of these routes must be plain
ASGI: Starlette's BaseHTTPMiddleware hides a client's hang-up, and its slot would stay taken.
"""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool

from local_platform.serving.delivery import respond_stream, respond_whole
from local_platform.serving.interface import InferenceEngine
from local_platform.serving.manager import EngineManager
from local_platform.serving.planning import plan_requests, read_prompts
from local_platform.serving.refusals import InferenceRoute
from local_platform.serving.requests import GenerateRequest
from local_platform.serving.responses import Shaper
from local_platform.serving.targets import Caller, ModelResolver
from local_platform.serving.wire import ChatBody, CompletionBody


def inference_router(resolver: ModelResolver, engines: EngineManager, authenticate: Callable[..., Any]) -> APIRouter:
    """The routes. `authenticate` is the FastAPI dependency that returns the caller's principal."""
    router = APIRouter(route_class=InferenceRoute, tags=["inference"])
    principal: Any = Depends(authenticate)

    async def chat(body: ChatBody, request: Request, caller: Any = principal) -> Response:
        """Chat completion; `stream` gives server-sent events."""
        return await answer(body, request, caller)

    async def complete(body: CompletionBody, request: Request, caller: Any = principal) -> Response:
        """Plain completion; `echo` with `logprobs` and `max_tokens` 0 scores the prompt."""
        return await answer(body, request, caller)

    async def models(caller: Any = principal) -> dict[str, Any]:
        """What is deployed for the caller."""
        served = await run_in_threadpool(resolver.list_models, caller)
        data = [{**model._asdict(), "object": "model", "supports_chat": True} for model in served]
        return {"object": "list", "data": data}

    async def answer(body: ChatBody | CompletionBody, request: Request, caller: Caller) -> Response:
        engine, shaper, requests = await run_in_threadpool(prepare, body, caller)
        generation = engine.generate(requests)
        if not body.stream:
            return await respond_whole(request, generation, shaper)
        usage_chunk = bool(body.stream_options and body.stream_options.include_usage)
        return respond_stream(generation, shaper, len(requests), usage_chunk=usage_chunk)

    def prepare(
        body: ChatBody | CompletionBody, caller: Caller
    ) -> tuple[InferenceEngine, Shaper, list[GenerateRequest]]:
        target = resolver.resolve_model(caller, body.model)
        engine = engines.engine(target.engine)
        if target.adapter and target.adapter_directory and target.adapter not in engine.adapters:
            engine.load_adapter(target.adapter, target.adapter_directory)
        prompts = read_prompts(engine.vocabulary, body, target.chat_template)
        limit = min(engine.context_length, target.context_length or engine.context_length)
        requests = plan_requests(body, prompts, limit, target.adapter)
        return engine, Shaper(engine.vocabulary, body, target.model, prompts), requests

    for prefix in ("/inference/v1", "/v1"):
        router.add_api_route(f"{prefix}/chat/completions", chat, methods=["POST"], response_model=None)
        router.add_api_route(f"{prefix}/completions", complete, methods=["POST"], response_model=None)
        router.add_api_route(f"{prefix}/models", models, methods=["GET"], response_model=None)
    return router
