"""What a data set says about the choices that a training on it asks for."""
