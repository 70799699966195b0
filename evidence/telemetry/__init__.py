"""What training shows of an assignment: sums over its steps, and the objects of some images followed through the epochs."""
