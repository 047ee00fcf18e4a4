"""The sweep's record: a transactional outbox, the writer that empties it into MLflow, queries."""
