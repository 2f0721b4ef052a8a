"""What each ONNX op becomes; ``forms`` says which are understood."""
