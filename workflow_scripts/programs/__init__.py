"""The programs that the rules start, one folder a file of rules: declared inputs, the library, declared outputs."""
