"""The classifier: packed recurrent layers and their CPU kernels, pooling, devices."""
