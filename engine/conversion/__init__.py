"""Other projects' checkpoints in this project's names."""
