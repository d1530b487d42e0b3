"""What measures the claims of the README."""
