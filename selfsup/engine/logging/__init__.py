"""What a run records: lines, numbers, the machine."""
