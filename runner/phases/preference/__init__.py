"""The phases of preference learning that are not those of supervised fine-tuning."""
