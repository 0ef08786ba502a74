"""Ways in which a caller proves who it is."""
