"""What keeps the service predictable when others are not."""
