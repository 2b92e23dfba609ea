"""The measured program: runs in a fresh interpreter of any version from 3.6 on.

Standard library only, and nothing newer than 3.6 in the syntax: the same source runs everywhere, and its
SHA-256 is the workload's version. Annotations are quoted, because 3.6 would evaluate `list[int]`. It is a
package, and never `__main__`, so that pool workers and sub-interpreters can import what they run.
"""
