"""The float graph written as ONNX nodes."""
