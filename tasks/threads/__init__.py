"""The experiments engine: cases measured in fresh interpreters, and their samples.

`measured/` is the program that the children run; everything else is the parent's side.
"""
