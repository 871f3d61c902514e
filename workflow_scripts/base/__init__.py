"""What every program needs: errors, files, seeds, the command line, progress and provenance. Imports no other room."""
