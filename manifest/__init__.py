"""Which RPC a request is, and whether it is allowed. Pure: no I/O."""
