"""Pictures: matplotlib's figures, and boxes on photographs."""
