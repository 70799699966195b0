"""Pictures of classes that fewer than a tenth of all pictures have come more often (LVIS's repeat factors)."""

changes = {"input.repeat_rare": 0.1}
