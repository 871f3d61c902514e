"""The autoencoder, its latents, its decoder along depth, and what it gives back."""
