"""The encrypt→hash engine: suites, two backends that agree bit for bit, chains of child processes.

Imports go down this line: errors, suites, secret → inputs, scan → chain → openssl, native → encrypt.
"""
