"""ONNX in and out: :func:`.importer.load` reads a file, :func:`.exporter.save` writes one."""
