"""Base models as the platform knows them, with what a plan must show: context, template, LoRA scale, throughput."""

import re
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from pilotlight.errors import NotFound
from pilotlight.names import CATALOGUE_ACCOUNT
from runner.client import Client


class Throughput(BaseModel):
    """Calibrated on the platform: tokens per second of one job or replica, and what starting costs."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")

    train_tokens_per_second: float
    eval_tokens_per_second: float
    generate_tokens_per_second: float
    preference_tokens_per_second: float | None = None
    """Of training on pairs; None before such a job was measured."""
    startup_seconds: float = 10.0
    concurrent_jobs: int = 1
    default_batch_tokens: int | None = None


class BaseFacts(BaseModel):
    """One base model that can be tuned. `throughput` is None where the platform publishes none: time is unknown."""

    name: str
    display_name: str
    context_length: int | None = None
    parameters: int | None = None
    lora_scale: float | None = None
    template: str | None = None
    batch_tokens: int | None = None
    throughput: Throughput | None = None
    token_scale: float = 1.0
    """Tokens of this model's tokenizer for one of the profile's rough ones."""

    @property
    def id(self) -> str:
        """The short ID."""
        return self.name.rsplit("/", 1)[-1]


def list_bases(client: Client, account: str) -> list[BaseFacts]:
    """Tunable base models of the catalogue and of the account, smallest first."""
    shapes = {shape["baseModel"]: shape for shape in list_resources(client, CATALOGUE_ACCOUNT, "trainingShapes")}
    models = [model for owner in (CATALOGUE_ACCOUNT, account) for model in list_resources(client, owner, "models")]
    bases = [_facts(model, shapes.get(model["name"], {})) for model in models if _is_tunable_base(model)]
    return sorted(bases, key=lambda base: (base.parameters or 0, base.id))


def find_base(wanted: str, bases: list[BaseFacts]) -> BaseFacts | None:
    """The base that a full name, short ID or display name stands for; dashes, dots and case do not matter."""
    key = _squeeze(wanted.rsplit("/", 1)[-1])
    for base in bases:
        if wanted == base.name or key in (_squeeze(base.id), _squeeze(base.display_name)):
            return base
    return None


def recommend(bases: list[BaseFacts], longest: int) -> BaseFacts:
    """The largest base model that the longest row fits into; the largest of all where none does."""
    fitting = [base for base in bases if base.context_length is None or base.context_length >= longest]
    return max(fitting or bases, key=lambda base: (base.parameters or 0, base.id))


def list_resources(client: Client, account: str, collection: str) -> list[dict[str, Any]]:
    """All pages of a collection; empty where the platform does not have it."""
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        params: dict[str, str | int] = {"pageSize": 200} | ({"pageToken": token} if token else {})
        try:
            page = client.get(f"/v1/accounts/{account}/{collection}", **params)
        except NotFound:
            return found
        found += page.get(collection, [])
        token = page.get("nextPageToken") or ""
        if not token:
            return found


def _is_tunable_base(model: dict[str, Any]) -> bool:
    kind = model.get("kind")
    return kind == "HF_BASE_MODEL" and model.get("state") == "READY" and bool(model.get("tunable"))


def _facts(model: dict[str, Any], shape: dict[str, Any]) -> BaseFacts:
    local: dict[str, Any] = model.get("localDetails") or {}
    speed = Throughput.model_validate(shape["localThroughput"]) if shape.get("localThroughput") else None
    details: dict[str, Any] = model.get("baseModelDetails") or {}
    return BaseFacts(
        name=model["name"],
        display_name=model.get("displayName") or model["name"].rsplit("/", 1)[-1],
        context_length=_whole(model.get("contextLength") or shape.get("maxSupportedContextLength")),
        parameters=_whole(local.get("parameterCount") or details.get("parameterCount")),
        lora_scale=local.get("loraAlphaRatio"),
        template=_template(model, local),
        batch_tokens=_whole(local.get("defaultBatchTokens")) or (speed.default_batch_tokens if speed else None),
        throughput=speed,
    )


def _template(model: dict[str, Any], local: dict[str, Any]) -> str | None:
    digest = local.get("chatTemplateHash")
    style: Any = (model.get("conversationConfig") or {}).get("style")
    words = [str(style)] if style else []
    return " ".join([*words, f"sha256 {str(digest)[:12]}"] if digest else words) or None


def _whole(value: Any) -> int | None:
    return int(value) if value not in (None, "") else None


def _squeeze(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.casefold())
