"""Text classification with packed-sequence RNNs: data, model, training, the saved model."""
