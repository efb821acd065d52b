"""The embedded platform: the Fireworks REST API, real LoRA training, OpenAI-compatible serving."""
