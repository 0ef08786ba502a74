"""The configuration file: shapes, and text to settings or all faults."""
