"""The models resource: base models of the catalogue, adapters, and imports of Hugging Face checkpoints."""
