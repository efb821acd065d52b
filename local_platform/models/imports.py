"""Base models come into the catalogue: the shipped ones at start, Hugging Face checkpoints by folder or hub name.

A checkpoint is linked, not copied, into `<platform home>/models/fireworks/<id>/`; a chat template given at import lies
there beside the links. Hub names are resolved to a commit; nothing is downloaded unless asked for.
"""

import logging
import re
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

from jinja2 import TemplateError
from pydantic import Field

from local_platform.basemodels import ShippedModel, shipped
from local_platform.context import Platform
from local_platform.models.checkpoint import FILES, Checkpoint, hash_template, read_checkpoint
from local_platform.resources import find, insert, update_body
from local_platform.tables import ModelRow
from pilotlight.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from pilotlight.names import CATALOGUE_ACCOUNT, check_id
from pilotlight.wire import Wire

log = logging.getLogger(__name__)
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+\Z")
_PROBE = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
_BATCH_TOKENS = 32_768
_ALPHA_RATIO = 2.0
"""alpha / r of LoRA where nothing else is known: the usual alpha = 2r."""


class ImportBody(Wire):
    """Body of models:import, a local extension."""

    source: str = Field(min_length=1, max_length=4096)
    """Full path of a folder on the platform's machine, or a hub name `org/name`."""
    model_id: str
    revision: str | None = Field(default=None, max_length=200)
    """Branch, tag or commit of a hub name; the commit it means is recorded."""
    chat_template: str | None = Field(default=None, max_length=200_000)
    context_length: int | None = Field(default=None, ge=16, le=10_000_000)
    lora_alpha_ratio: float = Field(default=_ALPHA_RATIO, gt=0, le=65_536)
    default_batch_tokens: int = Field(default=_BATCH_TOKENS, ge=1, le=10_000_000)
    display_name: str = Field(default="", max_length=63)
    allow_download: bool = False


def register_shipped(platform: Platform) -> None:
    """Put the shipped base models into the catalogue, or bring their entries up to date."""
    try:
        models = shipped()
    except FileNotFoundError as error:
        log.warning("no shipped base models, build them with `python -m local_platform.basemodels`: %s", error)
        return
    with platform.writing() as db:
        for model in models:
            name, body = _catalogue_name(model.id), _shipped_body(model)
            row = find(db, ModelRow, name)
            if row is None:
                insert(db, ModelRow, name, body, "READY")
            elif row.body != body:
                update_body(db, row, body, "READY")
        db.commit()


def import_model(platform: Platform, body: ImportBody) -> ModelRow:
    """Register a checkpoint as `accounts/fireworks/models/<modelId>`; the same import again returns what is there.

    Raises InvalidArgument for what cannot be used, AlreadyExists for an ID taken by another checkpoint.
    """
    name = _catalogue_name(check_id(body.model_id, "modelId"))
    source, revision = _locate(body)
    facts = read_checkpoint(source)
    context = body.context_length or facts.context_length
    template = body.chat_template or facts.chat_template
    if not context or (facts.context_length and context > facts.context_length):
        limit = f"it is at most {facts.context_length}" if facts.context_length else "the checkpoint does not say it"
        raise InvalidArgument(f"The context length is {context or 'unknown'}; {limit}.", hint="Give contextLength.")
    if not template:
        raise InvalidArgument("The checkpoint has no chat template.", hint="Give chatTemplate, a Jinja template.")
    record = {"source": body.source, **({"revision": revision} if revision else {})}
    record["directory"] = str(platform.new_model_directory(name))
    entry = _entry(body.display_name or body.model_id, facts, context, template, body, record)
    with platform.reading() as db:
        row = find(db, ModelRow, name)
    if row is not None:
        if {field: value for field, value in row.body.items() if field != "_directory"} == entry:
            return row
        raise AlreadyExists(f"{name} already exists with another checkpoint.", hint="Choose another modelId.")
    return _store(platform, name, entry, source, template if body.chat_template else None)


def _store(platform: Platform, name: str, entry: dict[str, Any], source: Path, template: str | None) -> ModelRow:
    staged = platform.home / "models" / f".import-{uuid4().hex}"
    try:
        _link(source, staged, template)
        _probe(staged)
        with platform.writing() as db:
            target = platform.new_model_directory(name)
            row = insert(db, ModelRow, name, {**entry, "_directory": str(target)}, "READY")
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            staged.rename(target)
            db.commit()
            db.refresh(row)
        return row
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _locate(body: ImportBody) -> tuple[Path, str | None]:
    folder = Path(body.source)
    if not body.source.isprintable() or len(folder.name) > 255:
        raise InvalidArgument("source is not a path or a hub name.", hint="Give a folder, or a name such as org/name.")
    if folder.is_absolute():
        if body.revision:
            raise InvalidArgument("A folder has no revision.", hint="Leave revision out.")
        return folder.resolve(), None
    if not _HUB_NAME.match(body.source):
        raise InvalidArgument(
            f"{body.source[:200]!r} is neither a full path nor a hub name.", hint="Give /path/to/folder or org/name."
        )
    return _fetch(body)


def _fetch(body: ImportBody) -> tuple[Path, str]:
    # Importing the hub's client takes long, and few imports need it.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        path = snapshot_download(
            body.source, revision=body.revision, allow_patterns=list(FILES), local_files_only=not body.allow_download
        )
    except LocalEntryNotFoundError as error:
        raise FailedPrecondition(
            f"{body.source} is not in the local hub cache.", hint="Set allowDownload to fetch it, or give a folder."
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise InvalidArgument(f"{body.source} cannot be fetched: {str(error)[:300]}") from error
    return Path(path), Path(path).name


def _link(source: Path, target: Path, template: str | None) -> None:
    target.mkdir(parents=True)
    for pattern in FILES:
        for file in source.glob(pattern):
            link = target / file.name
            if not link.is_symlink():
                link.symlink_to(file.absolute())
    if template is not None:
        file = target / "chat_template.jinja"
        file.unlink(missing_ok=True)
        file.write_text(template, encoding="utf-8")


def _probe(directory: Path) -> None:
    """Load configuration and tokenizer as the trainer will, and render a conversation. Raises InvalidArgument."""
    # transformers takes seconds to import, and only imports of models need it here.
    from transformers import AutoConfig, AutoTokenizer
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
        rendered = tokenizer.apply_chat_template(_PROBE, tokenize=False)
    except (OSError, ValueError, KeyError, TypeError, TemplateError) as error:
        raise InvalidArgument(f"The checkpoint cannot be loaded: {str(error)[:500]}") from error
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise InvalidArgument(f"{config.model_type} is not a text model that transformers can train.")
    if "Hello" not in rendered or "Hi" not in rendered:
        raise InvalidArgument("The chat template leaves out what the messages say.", hint="Give another chatTemplate.")


def _entry(
    display: str, facts: Checkpoint, context: int, template: str, body: ImportBody, record: dict[str, Any]
) -> dict[str, Any]:
    return _body(
        display_name=display,
        context_length=context,
        template=template,
        parameter_count=facts.parameter_count,
        details={
            "loraAlphaRatio": body.lora_alpha_ratio,
            "hiddenSize": facts.hidden_size,
            "defaultBatchTokens": body.default_batch_tokens,
            "modelType": facts.model_type,
            "dtype": facts.dtype,
            **record,
        },
    )


def _shipped_body(model: ShippedModel) -> dict[str, Any]:
    facts = read_checkpoint(model.directory)
    if facts.chat_template is None:
        raise FailedPrecondition(f"The shipped model {model.id} has no chat template.", hint="Build it again.")
    body = _body(
        display_name=model.display_name,
        context_length=model.context_length,
        template=facts.chat_template,
        parameter_count=model.parameter_count,
        details={
            "directory": str(model.directory),
            "loraAlphaRatio": model.lora_alpha_ratio,
            "hiddenSize": model.hidden_size,
            "defaultBatchTokens": model.default_batch_tokens,
            "modelType": facts.model_type,
            "dtype": facts.dtype,
            "source": "shipped with the product",
        },
    )
    return {**body, "_directory": str(model.directory)}


def _body(
    *, display_name: str, context_length: int, template: str, parameter_count: int, details: dict[str, Any]
) -> dict[str, Any]:
    return {
        "kind": "HF_BASE_MODEL",
        "displayName": display_name,
        "public": True,
        "tunable": True,
        "supportsLora": True,
        "supportsTools": "tools" in template,
        "supportsImageInput": False,
        "supportsServerless": False,
        "useHfApplyChatTemplate": True,
        "contextLength": context_length,
        "trainingContextLength": context_length,
        "conversationConfig": {"style": "jinja", "template": template},
        "baseModelDetails": {
            "checkpointFormat": "HUGGINGFACE",
            "parameterCount": str(parameter_count),
            "modelType": details["modelType"],
            "moe": False,
            "tunable": True,
            "worldSize": 1,
        },
        "localDetails": {
            **details,
            "parameterCount": str(parameter_count),
            "chatTemplateHash": hash_template(template),
        },
        "status": {"code": "OK", "message": ""},
    }


def _catalogue_name(model_id: str) -> str:
    return f"accounts/{CATALOGUE_ACCOUNT}/models/{model_id}"
