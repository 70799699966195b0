"""What a detector's detections are worth, and what is wrong with them: arrays in, numbers out."""
