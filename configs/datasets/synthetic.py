"""The generated shapes: 2000 images of 160 pixels, 1600 of them for training."""

options = {"images": 2000, "seed": 0, "size": 160}
input = {"scale": (160, 160), "flip": ("horizontal", "vertical")}
evaluation = {"every": 3}
