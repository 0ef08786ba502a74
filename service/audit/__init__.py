"""The audit record: no record, no token."""
