"""What a study is, each thing defined once. No torch: the Snakefile reads it in every job."""
