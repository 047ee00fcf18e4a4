"""Settings of published tutorials, by name."""
