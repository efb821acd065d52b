"""The only way out of the sandbox: enforces manifest, roles, approvals and spend; holds the credentials."""
