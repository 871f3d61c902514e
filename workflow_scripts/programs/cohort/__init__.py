"""From raw cases to checked, preprocessed volumes, splits and subsets."""
