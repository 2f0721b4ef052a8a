"""PyTorch modules as people write them, small, that ``tests.interop.export_models`` exports."""
