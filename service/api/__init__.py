"""HTTP towards callers: pure ASGI."""
