"""SliceAug as a library."""
