"""Training, evaluation and prediction: configs become objects and run on mmengine's loop."""
