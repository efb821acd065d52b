"""Supervised fine-tuning jobs: what may be asked for, their states, and the scheduler that runs trainers."""
