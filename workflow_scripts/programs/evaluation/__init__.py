"""What synthetic cases are worth, and how they look."""
