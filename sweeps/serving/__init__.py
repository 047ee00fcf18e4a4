"""The champion over HTTP: checks of requests in front of the scoring app, ports."""
