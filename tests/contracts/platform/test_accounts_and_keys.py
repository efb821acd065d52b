"""Accounts, users and keys through the official SDK."""

from typing import Any

import fireworks
import pytest
from fireworks import Fireworks
from fireworks.types.api_key import APIKey
from fireworks.types.user import User


def test_the_account_of_the_key(sdk: Fireworks) -> None:
    account = sdk.accounts.get()
    assert (account.name, account.state) == ("accounts/acme", "READY")
    assert [found.name for found in sdk.accounts.list()] == ["accounts/acme"]
    assert sdk.accounts.get(account_id="fireworks").name == "accounts/fireworks"


def test_a_user_is_made_changed_and_found(sdk: Fireworks) -> None:
    made = sdk.users.create(role="contributor", user_id="dana", email="dana@example.com", display_name="Dana")
    assert isinstance(made, User)
    assert made.create_time is not None
    changed = sdk.users.update("dana", role="user", display_name="D.", email="dana@example.com")
    assert (changed.role, changed.display_name) == ("user", "D.")
    assert sdk.users.get("dana").display_name == "D."
    assert "accounts/acme/users/dana" in [user.name for user in sdk.users.list(filter='role = "user"')]


def test_the_agents_key_as_documented(sdk: Fireworks, platform_server: Any) -> None:
    sdk.users.create(role="user", user_id="ci-agent", service_account=True)
    found = [user.name for user in sdk.users.list(filter="service_account=true")]
    assert "accounts/acme/users/ci-agent" in found
    key = sdk.api_keys.create("ci-agent", api_key={"display_name": "ci"})
    assert isinstance(key, APIKey)
    assert key.key is not None
    assert key.key.startswith("fw_")
    assert key.email == "ci-agent@acme.sa.fireworks.ai"
    with platform_server.client(key.key) as agent:
        assert agent.accounts.get().name == "accounts/acme"
        with pytest.raises(fireworks.PermissionDeniedError, match="Only an admin"):
            agent.users.create(role="admin", user_id="mallory")
        listed = list(sdk.api_keys.list("ci-agent"))
        assert [(item.key_id, item.key) for item in listed] == [(key.key_id, None)]
        assert key.key_id is not None
        sdk.api_keys.delete("ci-agent", key_id=key.key_id)
        with pytest.raises(fireworks.AuthenticationError, match="Unknown API key"):
            agent.accounts.get()
