"""The encrypt→hash engine: suites, two backends that agree bit for bit, chains of child processes.

Imports go down this line: errors, secret → chain → inputs, scan → openssl, native → probe → encrypt.
"""
