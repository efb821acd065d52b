"""Routes of the Agent API, one module per collection."""
