"""The tables of a study: numbers in, words out."""
