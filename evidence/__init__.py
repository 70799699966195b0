"""What training and its results look like to people: what is computed of them, drawn and written."""
