"""What a sweep prints: progress, the live view, the summary."""
