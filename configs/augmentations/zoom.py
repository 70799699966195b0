"""Every other picture zoomed out and cropped around its objects (SSD's)."""

changes = {"input.zoom": 0.5}
