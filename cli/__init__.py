"""firectl and pilotlight: thin clients of the HTTP API."""
