"""Word vectors: from files, from packages, or trained on the texts."""
