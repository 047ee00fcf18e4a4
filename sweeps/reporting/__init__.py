"""Reports: pages, tables, figures, and the notes on MLflow's pages."""
