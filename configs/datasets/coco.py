"""COCO 2017 at the usual 1333 x 800."""

input = {"scale": (1333, 800), "flip": ("horizontal",)}
