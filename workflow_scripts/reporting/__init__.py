"""Tables, figures and the report. Everything here is made from numbers that other stages have written."""
