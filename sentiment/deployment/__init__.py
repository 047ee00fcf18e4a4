"""A saved model as it leaves this project: as ONNX, or as a folder with weights in 8 bits."""
