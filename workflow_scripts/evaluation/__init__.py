"""How good is it: segmentation scores, image quality against a floor, and the statistics behind the tables."""
