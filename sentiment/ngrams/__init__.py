"""The linear n-gram branch: n-grams of a text, their weights, and the blend with the RNN."""
