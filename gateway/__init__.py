"""The only way out of the sandbox: enforces the manifest, roles, approvals and spend, and holds the credentials."""

from gateway.client import PlatformClient
from gateway.forwarding import Gateway
from gateway.principal import Principal
from gateway.record import RpcListener, RpcRecord

__all__ = ["Gateway", "PlatformClient", "Principal", "RpcListener", "RpcRecord"]
