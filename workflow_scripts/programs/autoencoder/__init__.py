"""The autoencoder, its latents, and what it gives back."""
