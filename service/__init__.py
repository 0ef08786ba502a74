"""Gigya credential proxy: provider tokens for the workloads that may have them, and no one else."""
