"""Brightness, contrast, saturation and hue at random (SSD's distortion), in every picture."""

changes = {"input.color": 1.0}
