"""Fine-tuning jobs, supervised and on preferences: what may be asked for, states, the scheduler that runs trainers."""
