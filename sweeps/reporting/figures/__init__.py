"""Figures of reports, drawn once for PNG and SVG."""
