"""The benchmark: forms of the same job side by side, interleaved, by CPU of the server."""
