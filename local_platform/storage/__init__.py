"""Files of the platform: content-addressed blobs, uploads in pieces, and signed URLs."""
