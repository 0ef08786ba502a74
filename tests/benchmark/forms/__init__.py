"""What the product is compared with; each is written for its best showing, and nothing else."""
