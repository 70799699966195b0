"""Trained detectors as files that run without this package: ONNX, TorchScript, torch.export."""
