"""Versions of the registered model, the quality gate, and the champion."""
