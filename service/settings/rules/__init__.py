"""What sections must be to each other, beyond the shape of each."""
