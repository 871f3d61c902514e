"""Generators that learn nothing: what they make is put together from the training cases themselves."""
