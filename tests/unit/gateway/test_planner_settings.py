"""Where the planner's model, its key and its prices come from."""

from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from cli.up import Instance
from gateway.metering import load_gateway_prices
from pilotlight.pricebook import load_planner_prices
from pilotlight.settings import Settings


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "PILOTLIGHT_ANTHROPIC_KEY"])
def test_the_key_comes_from_either_variable_and_is_never_shown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "sk-ant-1")
    settings = Settings()
    assert settings.anthropic_key.get_secret_value() == "sk-ant-1"
    assert "sk-ant-1" not in repr(settings)
    assert settings.planner_models == ("claude-sonnet-5-5",)


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "PILOTLIGHT_ANTHROPIC_KEY"])
def test_the_platform_and_its_trainers_do_not_get_the_key(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(name, "sk-ant-1")
    instance = Instance(tmp_path, 1, 2)
    assert instance.environment[name] == "sk-ant-1"
    assert "sk-ant-1" not in instance.platform_environment.values()


def test_without_a_key_there_is_no_model_and_no_price() -> None:
    assert Settings().planner_models == ()
    book = load_gateway_prices(Settings()).planner
    assert book is not None
    assert book.models == {}


def test_an_allowance_is_not_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PILOTLIGHT_PLANNER_ALLOWANCE_USD", "0")
    assert Settings().planner_allowance_usd == 0
    monkeypatch.setenv("PILOTLIGHT_PLANNER_ALLOWANCE_USD", "-1")
    with pytest.raises(ValidationError):
        Settings()


def test_the_shipped_book_prices_the_default_and_another_book_takes_its_place(tmp_path: Path) -> None:
    settings = Settings(anthropic_key=SecretStr("k"))
    assert load_planner_prices().models[settings.planner_models[0]] is not None
    book = tmp_path / "prices.yaml"
    head = "date: 2026-11-25\nsource: a contract\ncurrency: USD\nmodels:\n"
    price = '{input: "1", output: "2", cache_write: "1", cache_read: "1"}'
    book.write_text(f"{head}  mine: {price}\n  other: {price}\n  unpriced: null\n")
    ours = load_gateway_prices(settings.model_copy(update={"planner_prices": book, "planner_model": "mine, unpriced"}))
    assert ours.planner is not None
    assert {name: price and price.output for name, price in ours.planner.models.items()} == {
        "mine": Decimal(2),
        "unpriced": None,
    }
    book.write_text(f'{head}  mine: {{input: "-1", output: "2", cache_write: "1", cache_read: "1"}}\n')
    with pytest.raises(ValidationError):
        load_planner_prices(book)
