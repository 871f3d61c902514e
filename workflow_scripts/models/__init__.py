"""Networks only: shapes in every docstring. Imports no other room but base."""
