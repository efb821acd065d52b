"""Which method a request is, and whether it is allowed. Pure: requests in, verdicts out, no I/O but its own data."""
