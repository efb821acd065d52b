"""Deployments, loaded adapters, replicas that sleep and wake, and what they cost."""
