"""`threadmill check`."""

from __future__ import annotations

from collections import Counter

from flows.cli.options import Json, Whole
from flows.errors import RequestRefused
from flows.jobs.arguments import check_paths, need_key_file
from flows.settings import settings_with
from flows.show.tables import CHECKED
from flows.show.terminal import print_json, print_table, say
from tasks.cancel import CancelToken


def check(*paths: str, key_file: str | None = None, jobs: Whole | None = None, json: Json = False) -> int:
    """Say whether files still give their recorded digests.

    Each file is encrypted again with its recorded salt.

    Exit codes: 0 the same, 1 a digest differs or could not be made, 2 refused, or no file is on record, 3 a file was
    unreadable or changed while it was read.

    Example: threadmill check FOLDER --key-file KEY

    Args:
        paths: files and folders (all files below them)
        key_file: the one that they were encrypted with; default: THREADMILL_KEY_FILE
        jobs: files at once (default: usable CPUs)
    """
    settings = settings_with(None, key_file, jobs)
    if "-" in paths:
        raise RequestRefused("standard input has no record to be held against: name files or folders")
    named, key = check_paths(paths), need_key_file(settings.key_file)
    # The engine is loaded for what is not refused.
    from flows.jobs.check import check as check_files
    from tasks.crypto.encrypt import Limits

    history = settings.open_history()
    # A file that the suite `classic` was allowed to take before may be checked without being asked again.
    limits = Limits(settings.chain_timeout_s, allow_legacy_size=True)
    results = list(check_files(named, key, history, jobs=settings.usable_jobs, limits=limits, cancel=CancelToken()))
    counts = Counter(result.verdict for result in results)
    if json:
        print_json(results)
    else:
        print_table(CHECKED.fill(results))
        say(", ".join(f"{count:,} {verdict}" for verdict, count in counts.most_common()))
    if not counts.keys() - {"not recorded", "skipped"}:
        raise RequestRefused("none of these files is on record; encrypt them first: threadmill encrypt PATH")
    if counts["differs"] or counts["failed"]:
        return 1
    return 3 if counts["unreadable"] or counts["unstable"] else 0
