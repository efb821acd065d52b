"""Models through the official SDK: the catalogue, adapters by signed upload, and base models by import."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fireworks
import httpx
import numpy as np
import pytest
from fireworks import Fireworks
from safetensors import safe_open
from safetensors.numpy import save_file

BASE = "accounts/fireworks/models/ember-500k"


@pytest.fixture
def adapter(sdk: Fireworks, tmp_path: Path) -> Path:
    """A PEFT folder that fits the shipped base model, of rank 2 on the query projections."""
    details: Any = sdk.models.get("ember-500k", account_id="fireworks").to_dict()["localDetails"]
    tensors: dict[str, Any] = {}
    with safe_open(Path(details["directory"]) / "model.safetensors", framework="numpy") as weights:
        for key in weights.keys():  # noqa: SIM118
            if key.endswith("q_proj.weight"):
                rows, columns = weights.get_slice(key).get_shape()
                prefix = f"base_model.model.{key.removesuffix('.weight')}"
                tensors[f"{prefix}.lora_A.weight"] = np.ones((2, columns), dtype=np.float32)
                tensors[f"{prefix}.lora_B.weight"] = np.zeros((rows, 2), dtype=np.float32)
    assert tensors
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "r": 2,
        "lora_alpha": 4,
        "target_modules": ["q_proj"],
        "base_model_name_or_path": BASE,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def admin(platform_server: Any) -> Iterator[httpx.Client]:
    with platform_server.http() as client:
        yield client


def send(sdk: Fireworks, model: str, folder: Path) -> None:
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    sizes = {name: len(data) for name, data in files.items()}
    urls = sdk.models.get_upload_endpoint(model, filename_to_size=sizes).filename_to_signed_urls  # pyright: ignore[reportArgumentType]
    assert urls is not None
    for name, data in files.items():
        header = {"X-Goog-Content-Length-Range": f"{len(data)},{len(data)}"}
        httpx.put(urls[name], content=data, headers=header).raise_for_status()


def test_the_catalogue_says_what_a_base_model_needs(sdk: Fireworks) -> None:
    models = {model.name: model for model in sdk.models.list(account_id="fireworks", filter="tunable = true")}
    model = models[BASE]
    assert (model.kind, model.state, model.supports_lora, model.tunable) == ("HF_BASE_MODEL", "READY", True, True)
    assert model.conversation_config is not None
    assert "<|im_start|>" in (model.conversation_config.template or "")
    assert model.base_model_details is not None
    assert int(model.base_model_details.parameter_count or 0) > 100_000
    local = model.to_dict()["localDetails"]
    assert {"loraAlphaRatio", "hiddenSize", "chatTemplateHash", "defaultBatchTokens", "directory"} <= set(local)  # pyright: ignore[reportArgumentType]
    with pytest.raises(fireworks.PermissionDeniedError):
        sdk.models.delete("ember-500k", account_id="fireworks")
    with pytest.raises(fireworks.InternalServerError, match="not offered for download"):
        sdk.models.get_download_endpoint("ember-500k", account_id="fireworks")


def test_an_adapter_is_uploaded_served_back_renamed_and_deleted(
    sdk: Fireworks, platform_server: Any, adapter: Path
) -> None:
    made = sdk.models.create(
        model_id="mine",
        model={"kind": "HF_PEFT_ADDON", "peft_details": {"base_model": BASE, "r": 8, "target_modules": []}},
    )
    assert made.state == "UPLOADING"
    with pytest.raises(fireworks.BadRequestError, match="UPLOADING, not READY"):
        sdk.models.prepare("mine")
    with pytest.raises(fireworks.BadRequestError, match="no uploaded file"):
        sdk.models.validate_upload("mine")
    send(sdk, "mine", adapter)
    assert sdk.models.validate_upload("mine").warnings == []
    model = sdk.models.get("mine")
    assert (model.state, model.deployed_model_refs) == ("READY", [])
    assert model.peft_details is not None
    assert (model.peft_details.r, model.peft_details.target_modules) == (2, ["q_proj"])
    assert model.context_length == sdk.models.get("ember-500k", account_id="fireworks").context_length
    urls = sdk.models.get_download_endpoint("mine").filename_to_signed_urls
    assert urls is not None
    received = {name: httpx.get(url).raise_for_status().content for name, url in urls.items()}
    assert received == {path.name: path.read_bytes() for path in adapter.iterdir()}
    assert sdk.models.update("mine", display_name="Mine", description="first").display_name == "Mine"
    masked = sdk.models.update("mine", display_name="Ours", extra_query={"updateMask": "display_name"})
    assert (masked.display_name, masked.description) == ("Ours", "first")
    assert sdk.models.update("mine", display_name="Bare").description in (None, "")
    with pytest.raises(fireworks.BadRequestError, match="contextLength cannot be changed"):
        sdk.models.update("mine", context_length=7)
    folder = platform_server.home / "platform" / "models" / "acme" / "mine"
    assert folder.is_dir()
    sdk.models.delete("mine")
    assert not folder.exists()


def test_an_adapter_that_does_not_fit_is_refused_with_the_reason(sdk: Fireworks, adapter: Path) -> None:
    sdk.models.create(
        model_id="misfit", model={"peft_details": {"base_model": "ember-1m", "r": 2, "target_modules": []}}
    )
    send(sdk, "misfit", adapter)
    with pytest.raises(fireworks.BadRequestError, match="does not fit accounts/fireworks/models/ember-1m"):
        sdk.models.validate_upload("misfit")
    model = sdk.models.get("misfit")
    assert model.state == "UPLOADING"
    assert model.status is not None
    assert "does not fit" in (model.status.message or "")
    (adapter / "adapter_config.json").write_text('{"r": "many"}')
    send(sdk, "misfit", adapter)
    with pytest.raises(fireworks.BadRequestError, match=r"adapter_config\.json"):
        sdk.models.validate_upload("misfit")
    for names in ({"adapter_config.json": 1}, {"adapter_config.json": 1, "adapter_model.safetensors": 1, "x.bin": 1}):
        with pytest.raises(fireworks.BadRequestError):
            sdk.models.get_upload_endpoint("misfit", filename_to_size=names)  # pyright: ignore[reportArgumentType]
    sdk.models.delete("misfit")


def test_what_cannot_be_created_is_refused(sdk: Fireworks) -> None:
    with pytest.raises(fireworks.InternalServerError, match="pilotlight model import"):
        sdk.models.create(model_id="x", model={"kind": "HF_BASE_MODEL"})
    with pytest.raises(fireworks.BadRequestError, match="peftDetails"):
        sdk.models.create(model_id="x")
    with pytest.raises(fireworks.NotFoundError, match="Base model"):
        sdk.models.create(model_id="x", model={"peft_details": {"base_model": "gpt-9", "r": 1, "target_modules": []}})


def test_a_checkpoint_is_imported_by_folder(
    sdk: Fireworks, admin: httpx.Client, platform_server: Any, tiny_checkpoint: Path
) -> None:
    path = "/v1/accounts/fireworks/models:import"
    body = {"source": str(tiny_checkpoint), "modelId": "tiny", "loraAlphaRatio": 8}
    made = admin.post(path, json=body)
    assert made.status_code == 200, made.text
    assert admin.post(path, json=body).json() == made.json()
    model = sdk.models.get("tiny", account_id="fireworks")
    assert (model.state, model.kind, model.context_length) == ("READY", "HF_BASE_MODEL", made.json()["contextLength"])
    local: Any = model.to_dict()["localDetails"]
    assert (local["loraAlphaRatio"], local["hiddenSize"]) == (8, 64)
    linked = Path(local["directory"]) / "model.safetensors"
    assert linked.is_symlink()
    assert linked.read_bytes() == (tiny_checkpoint / "model.safetensors").read_bytes()
    assert admin.post(path, json={**body, "loraAlphaRatio": 2}).status_code == 409
    template = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
    other = admin.post(path, json={**body, "modelId": "tiny-two", "chatTemplate": template, "contextLength": 64}).json()
    assert (other["contextLength"], other["conversationConfig"]["template"]) == (64, template)
    directory = Path(other["localDetails"]["directory"])
    assert (directory / "chat_template.jinja").read_text() == template
    assert not (directory / "chat_template.jinja").is_symlink()
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    assert tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) == "<user>hi"


def test_what_cannot_be_imported_is_refused_with_the_reason(
    sdk: Fireworks, admin: httpx.Client, platform_server: Any, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    def attempt(change: Any, **extra: Any) -> httpx.Response:
        folder = tmp_path / "broken"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tiny_checkpoint, folder)
        change(folder)
        body = {"source": str(folder), "modelId": "broken", **extra}
        return admin.post("/v1/accounts/fireworks/models:import", json=body)

    def own_code(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "x.Y"}}))

    def pickled(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    def no_template(folder: Path) -> None:
        (folder / "chat_template.jinja").unlink()

    cases: list[tuple[Callable[[Path], Any], dict[str, Any], str]] = [
        (own_code, {}, "code of its own"),
        (pickled, {}, "safetensors"),
        (no_template, {}, "no chat template"),
        (lambda folder: (folder / "config.json").write_text("{"), {}, "config.json cannot be read"),
        (lambda folder: (folder / "tokenizer.json").unlink(), {}, "no tokenizer"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 64), {}, "cannot be read"),
        (lambda folder: None, {"contextLength": 10_000_000}, "at most"),
        (lambda folder: None, {"chatTemplate": "{% broken"}, "cannot be loaded"),
        (lambda folder: None, {"chatTemplate": "always the same"}, "leaves out"),
        (lambda folder: None, {"source": str(tmp_path / "nowhere")}, "not a folder"),
        (lambda folder: None, {"source": "../x"}, "neither a full path"),
        (lambda folder: None, {"source": "some-org/not-downloaded"}, "local hub cache"),
        (lambda folder: None, {"revision": "main"}, "no revision"),
        (lambda folder: None, {"modelId": "Bad_Id"}, "modelId"),
    ]
    for change, extra, reason in cases:
        response = attempt(change, **extra)
        assert response.status_code == 400, response.text
        assert reason in response.json()["message"], response.text
    leftovers = [entry.name for entry in (platform_server.home / "platform" / "models").iterdir()]
    assert not [name for name in leftovers if name.startswith(".import-")]
    sdk.users.create(role="user", user_id="eve")
    key = sdk.api_keys.create("eve", api_key={}).key
    headers = {"Authorization": f"Bearer {key}"}
    body = {"source": str(tiny_checkpoint), "modelId": "eves"}
    assert admin.post("/v1/accounts/fireworks/models:import", json=body, headers=headers).status_code == 403
