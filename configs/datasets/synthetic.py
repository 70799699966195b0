"""The generated shapes: 2000 images of 160 pixels, 1600 of them for training."""

input = {"scale": (160, 160), "flip": ("horizontal", "vertical")}
evaluation = {"every": 3}
