"""The saved model: its files, its predictions, its metrics, and its MLflow flavor."""
