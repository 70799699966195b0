"""`inspect`: what is asked for, the model and the images that answer, and what is drawn of the answer."""
