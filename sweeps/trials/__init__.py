"""One trial in a worker process: training, reports, checkpoints, retries."""
