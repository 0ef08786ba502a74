"""What is known of Gigya: signing, opening, calling."""
