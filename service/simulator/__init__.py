"""A Gigya of our own, which shares no code with the rest."""
