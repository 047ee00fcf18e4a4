"""The report of a sweep while it runs: its record read bit by bit, its page, its server."""
