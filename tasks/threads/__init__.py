"""The threading experiments: cases measured in fresh interpreters, their samples, and what follows from them.

`measured/` is the program that the children run; everything else is the parent's side.
"""
