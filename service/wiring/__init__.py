"""From settings to the objects that work: one module for each room that has settings."""
