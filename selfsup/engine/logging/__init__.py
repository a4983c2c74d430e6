"""What a run leaves on record: lines, numbers, the machine."""
