"""The phases of a classification that are not those of supervised fine-tuning."""
