"""What one run writes to MLflow: parameters, metrics, data, provenance, the logged model."""
