"""The phases of a supervised fine-tuning whose candidates are scored by an evaluator."""
