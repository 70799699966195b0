"""Prediction on files: which they are, reading them safely, writing down what is found."""
