"""Files and processes: checked archives, cache entries built once, downloads, worker processes."""
