"""Item 52: child processes, joined by pipes.

What the chapter does: three times, `openssl enc -des3` encrypts 100 random bytes and
`openssl dgst -whirlpool` hashes its output; the two run as child processes with a pipe between
them, all three pairs at once, and the last ten bytes of each digest are printed.

What happens today:

- On OpenSSL 3 Whirlpool lives in the legacy provider, which is not loaded unless asked for, so
  `dgst` says "unsupported" and exits with 1; `enc` loses its reader and usually exits with 1 too.
  `--legacy-provider` asks for it, and the same code prints three tails. OpenSSL 1.1.1 needs
  nothing, and does not know the option.
- Every `enc` warns of its deprecated key derivation, in two lines.
- From `--bytes 139265` on the script hangs: all is written before anything reads the ciphertext,
  and 64 KiB in the first pipe, 8 KiB inside `enc` and 64 KiB in the second pipe are all that can
  lie in between (less where pipes are smaller). Ctrl-C ends it.

The faults are kept on purpose, each marked FAULT with what threadmill does instead:

    threadmill encrypt --random 100x3 --suite classic
"""

import argparse
import os
import subprocess
import sys

PASSWORD = "a-throw-away-constant"
LEGACY = ["-provider", "legacy", "-provider", "default"]


def start_encrypting(data):
    """Start `openssl enc` and hand it the data; return the running process."""
    # FAULT: a constant in the source, and an environment variable that every descendant inherits.
    # threadmill: a fresh key through a pipe that only this child holds (`-pass fd:N`).
    env = os.environ.copy()
    env["password"] = PASSWORD
    process = subprocess.Popen(
        ["openssl", "enc", "-des3", "-pass", "env:password"],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    # FAULT: nobody reads the ciphertext yet, so a long payload blocks here for ever.
    # threadmill: stdin is a file (a memory file for random bytes), so the parent writes nothing.
    process.stdin.write(data)
    process.stdin.flush()
    return process


def start_hashing(stdin, options):
    """Start `openssl dgst` on the read end of a pipe; return the running process."""
    return subprocess.Popen(
        ["openssl", "dgst", *options, "-whirlpool", "-binary"],
        stdin=stdin,
        stdout=subprocess.PIPE,
    )


def run(size, options):
    """Run the three chains at once and print the last ten bytes of each digest."""
    encrypting = []
    hashing = []
    for _ in range(3):
        first = start_encrypting(os.urandom(size))
        encrypting.append(first)
        hashing.append(start_hashing(first.stdout, options))
        # Only the second child may hold the read end: then it sees the end of the stream, the
        # first one learns when its reader is gone, and communicate() below leaves the pipe alone.
        first.stdout.close()
        first.stdout = None

    for process in encrypting:
        process.communicate()
        # FAULT: `python -O` removes the check, and where it fails the other children are left
        # unwaited. Exit code 0 is not enough either: `enc` ends with it even after a read error.
        # threadmill: ends and reaps every stage, and checks the lengths of input and ciphertext.
        assert process.returncode == 0, f"openssl enc ended with {process.returncode}"

    for process in hashing:
        digest, _ = process.communicate()
        print(digest[-10:], flush=True)
    # FAULT: outside the loop, so only the last digest's exit code is looked at.
    # threadmill: a chain is good only if every stage of it is, and each chain has its own verdict.
    assert process.returncode == 0, f"openssl dgst ended with {process.returncode}"


def main(argv):
    """Read the options and run the chains."""
    parser = argparse.ArgumentParser(description="The chapter's three encrypt-and-hash chains.")
    parser.add_argument(
        "--bytes", type=int, default=100, metavar="N", help="payload size (default 100; 139265 and more hang)"
    )
    parser.add_argument(
        "--legacy-provider",
        action="store_true",
        help="load the provider in which OpenSSL 3 keeps Whirlpool",
    )
    args = parser.parse_args(argv)
    if args.bytes < 0:
        parser.error("--bytes must not be negative")
    # `enc` needs no provider: triple DES is in the default one.
    run(args.bytes, LEGACY if args.legacy_provider else [])


if __name__ == "__main__":
    main(sys.argv[1:])
