"""What the study asks of a Slurm cluster, what the cluster has, and whether the two fit."""
