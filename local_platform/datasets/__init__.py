"""The datasets resource: create, upload, validate, read; immutable once ready."""
