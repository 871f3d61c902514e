"""What a person starts: how far a study is, whether a cluster can run it, the tables of keys."""
