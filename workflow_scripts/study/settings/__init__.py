"""The settings of a study and of its programs: each key once, with its type, range, unit, default and meaning. No torch."""
