"""One sweep from its settings to its registered winner, and its continuation."""
