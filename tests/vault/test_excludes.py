"""Excludes: what they leave is what git leaves, for every pattern; absolute paths; patterns that match nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks.crypto.scan import walk
from tasks.vault.excludes import BadPattern, Excludes

GIT = shutil.which("git") or ""
needs_git = pytest.mark.skipif(not GIT, reason="there is no git on PATH")

# Among them names that are patterns, have odd bytes, or differ in what a matcher may take for the end of a line.
NAMES = [
    *(
        b"a",
        b"b",
        b"ab",
        b"abc",
        b"a-b",
        b"a*b",
        b"a b",
        b"a ",
        b" a",
        b"A",
        b"1",
        b"-",
        b"]",
        b"a]",
        b"[a]",
        b"*",
        b"**",
    ),
    *(b"#a", b"!a", b"?", b"a\\", b"x.o", b".o", b"keep", b"cache", b"a\nb", b"a\n", b"a\r", b"\t", b"a\x0b", b"\xff"),
    *(b"\xc3\xa9",),
]
PIECES = [
    *(
        "a",
        "b",
        "c",
        "ab",
        "A",
        "1",
        "-",
        "]",
        "x.o",
        "cache",
        "keep",
        "#",
        "#a",
        "!",
        " ",
        "\t",
        "\r",
        "\x0b",
        "\udcff",
    ),
    *(
        "\xe9",
        "*",
        "**",
        "***",
        "?",
        "/",
        "/",
        "/",
        "**/",
        "/**",
        "/**/",
        "/*",
        "\\",
        "\\\\",
        "\\*",
        "\\ ",
        "\\/",
        "\\a",
    ),
    *(
        "[ab]",
        "[!a]",
        "[^a]",
        "[a-c]",
        "[c-a]",
        "[a-]",
        "[--b]",
        "[]a]",
        "[!]a]",
        "[\\]]",
        "[a\\-c]",
        "[a",
        "[/]",
        "[!/]",
    ),
    *("[[:alpha:]]", "[[:space:]]", "[[:punct:]x]", "[[:^a:]]", "[[:bad:]]", "[[:a]", "[[:]"),
]
Tree = dict[bytes, object]
contents: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["file", "file", "link"]), max_size=4),
    lambda below: st.dictionaries(st.sampled_from(NAMES), below | st.just("file"), min_size=1, max_size=5),
    max_leaves=12,
)
some_names = st.lists(st.sampled_from([os.fsdecode(name) for name in NAMES if b"\n" not in name]), max_size=3)
# Stars of names and of folders by turns, which a search may go back to.
by_turns = st.lists(
    st.sampled_from(["**/", "/**/", "*/", "*", "a", "b", "/", "?", "*a*", "**a"]), min_size=2, max_size=9
)
any_pattern = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)
like_a_path = st.tuples(
    st.sampled_from(["", "", "/", "**/"]),
    some_names.map("/".join),
    st.sampled_from(PIECES),
    some_names.map("/".join),
    st.sampled_from(["", "", "/", "/*", "/**", "/**/", "  "]),
).map("".join)
# An exclamation mark by itself is refused.
patterns = st.tuples(st.sampled_from(["", "", "!"]), any_pattern | like_a_path | by_turns.map("".join)).map("".join)
patterns = patterns.filter(lambda text: text.removesuffix("\r").rstrip(" ") != "!")


def make(tree: Tree, folder: bytes) -> None:
    """Make files, folders and links."""
    os.mkdir(folder)
    for name, below in tree.items():
        path = folder + b"/" + name
        if isinstance(below, dict):
            make(below, path)
        elif below == "link":
            os.symlink(b"..", path)
        else:
            Path(os.fsdecode(path)).touch()


def left_by_git(source: Path, excludes: Sequence[str]) -> set[bytes]:
    """The paths that `git ls-files` lists."""
    repository, listed = source.parent / "git", source.parent / "excludes"
    if not repository.exists():
        subprocess.run([GIT, "init", "-q", "--bare", repository], check=True)
    listed.write_bytes(b"".join(os.fsencode(one) + b"\n" for one in excludes))
    git = [GIT, "-c", "core.ignoreCase=false", f"--git-dir={repository}", f"--work-tree={source}"]
    command = [*git, "ls-files", "-z", "--others", f"--exclude-from={listed}"]
    found = subprocess.run(command, cwd=source, capture_output=True, check=True)
    return set(found.stdout.split(b"\0")) - {b""}


def left(source: Path, excludes: Excludes) -> set[bytes]:
    """The paths that a walk yields, without folders, as git lists none."""
    base = os.fsencode(source)
    return {one.path[len(base) + 1 :] for one in walk([base], excludes.match) if not one.is_folder}


@needs_git
@settings(deadline=None, max_examples=200)
@given(contents, st.lists(st.lists(patterns, min_size=1, max_size=4), min_size=1, max_size=6))
def test_patterns_leave_what_git_leaves(tree: Tree, choices: list[list[str]]) -> None:
    """Whatever the tree and the patterns are."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")
        make(tree, os.fsencode(source))
        for excludes in choices:
            assert left(source, Excludes(excludes)) == left_by_git(source, excludes), excludes


@needs_git
@settings(deadline=None, max_examples=50)
@given(contents, contents, st.lists(st.tuples(st.sampled_from([None, 0, 1]), like_a_path), min_size=1, max_size=4))
def test_absolute_patterns_leave_what_git_leaves_of_their_source(
    one: Tree, two: Tree, choices: list[tuple[int | None, str]]
) -> None:
    """Between patterns for all sources; the other source, whose name begins the same, has no part in them."""
    with tempfile.TemporaryDirectory() as folder:
        sources = [Path(folder, "[s] *"), Path(folder, "[s] *2")]
        for source, tree in zip(sources, (one, two), strict=True):
            make(tree, os.fsencode(source))
        texts = [f"{'' if at is None else sources[at]}/{text.lstrip('/')}" for at, text in choices]
        assume(not any(text.rstrip("\r /") in map(str, sources) for text in texts))
        excludes = Excludes(texts, [os.fsencode(source) for source in sources])
        for number, source in enumerate(sources):
            own = ["/" + text.lstrip("/") for at, text in choices if at in {None, number}]
            assert left(source, excludes) == left_by_git(source, own), texts


FILES = [
    *("cache/keep", "cache/x", "cache/d/y", "d/cache/z", "d/keep", "a/b", "a/x/b", "ab/c", "ab/x/c", "axb/c", "a-b/c"),
    *("b]", "n\nl", "\xe9", "a\t", "a\\", "x.o", "d/x.o", "keep"),
]


@needs_git
@pytest.mark.parametrize(
    "excludes",
    [
        # Folders that are not left out themselves.
        ["cache/**", "!cache/keep"],
        ["cache/**/"],
        ["/cache/**", "!keep"],
        ["**/cache/**", "!keep"],
        ["cache/", "!cache/keep"],
        ["*", "!*/", "!keep"],
        # Two stars that are no more than one, except right after the literal part.
        ["a**/c"],
        ["?b**/c"],
        # One byte, and not one character.
        ["?"],
        ["??"],
        ["n?l"],
        # Only spaces at the end are taken away.
        ["a\t"],
        ["keep  "],
        ["keep\\ "],
        ["keep\r"],
        # Brackets never stand for a slash, and may be wrong.
        ["a[!/]b"],
        ["a[^a]b"],
        ["[z-a]"],
        ["[[:bad:]]"],
        ["b[]]"],
        ["a\\"],
        ["/"],
        ["//cache"],
    ],
    ids=" ".join,
)
def test_cases_that_are_easily_wrong(tmp_path: Path, excludes: list[str]) -> None:
    """Each is one that a library for gitignore's patterns, or a walk, is known to have wrong."""
    for name in FILES:
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert left(tmp_path / "source", Excludes(excludes)) == left_by_git(tmp_path / "source", excludes)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two sources with the same files."""
    sources = tmp_path / "o[n]e 1", tmp_path / "two"
    for source in sources:
        (source / "d").mkdir(parents=True)
        for name in ("x", "d/x", "d/y"):
            (source / name).touch()
    return sources


def left_of(sources: Sequence[Path], *texts: str) -> list[set[bytes]]:
    """What is left of each source."""
    excludes = Excludes(texts, [os.fsencode(source) for source in sources])
    return [left(source, excludes) for source in sources]


@pytest.mark.parametrize("typed", ["o[n]e 1", "o\\[n\\]e\\ 1"])
def test_an_absolute_path_is_for_its_source_only(two: tuple[Path, Path], tmp_path: Path, typed: str) -> None:
    """Typed as it is or escaped; stars, folders and negation work from the source on."""
    everything = {b"x", b"d/x", b"d/y"}
    assert left_of(two, f"{tmp_path}/{typed}/x") == [{b"d/x", b"d/y"}, everything]
    assert left_of(two, f"{tmp_path}/{typed}/d/") == [{b"x"}, everything]
    assert left_of(two, f"{tmp_path}/{typed}/**/x", f"!{tmp_path}/{typed}/d/x") == [{b"d/x", b"d/y"}, everything]
    assert left_of(two, "x", f"!{tmp_path}/{typed}/x") == [{b"x", b"d/y"}, {b"d/y"}]


def test_an_absolute_path_below_no_source_is_refused(two: tuple[Path, Path], tmp_path: Path) -> None:
    """So is a source itself; a pattern from each source on may begin with a slash, and need not if it has two parts."""
    for text in (f"{tmp_path}/three/x", f"{tmp_path}/twox/*", "/usr/lib/*"):
        with pytest.raises(BadPattern, match="below none of the paths"):
            left_of(two, text)
    with pytest.raises(BadPattern, match="one of the paths"):
        left_of(two, f"{tmp_path}/two/")
    (two[1] / "usr/lib").mkdir(parents=True)
    (two[1] / "usr/lib/z").touch()
    everything = {b"x", b"d/x", b"d/y"}
    for text in ("/usr/lib/*", "usr/lib/*", "/usr", "/tmp/", "/no-such-folder/x"):
        assert left_of(two, text)[0] == everything
    assert left_of(two, "/usr/lib/*")[1] == everything
    assert left_of(two, "/usr")[1] == everything


def test_the_root_of_the_file_system_is_a_source_as_any(tmp_path: Path) -> None:
    """Its absolute paths are those below it."""
    excludes = Excludes(["/usr/lib", "x"], [b"/"])
    assert excludes.match(b"/", b"/usr/lib", True)
    assert excludes.match(b"/", b"/x", False)
    assert not excludes.match(b"/", b"/srv/usr/lib", True)


def test_patterns_that_match_nothing_are_known(two: tuple[Path, Path]) -> None:
    """A pattern below a folder that is left out matches nothing, since nothing is looked at there."""
    texts = ["x", "*.o", "# y", "", "!d/x", "d/", "d/y", f"{two[0]}/q", "["]
    excludes = Excludes(texts, [os.fsencode(source) for source in two], note=True)
    for source in two:
        left(source, excludes)
    assert excludes.unmatched == ("*.o", "!d/x", "d/y", f"{two[0]}/q", "[")


@pytest.mark.parametrize("text", ["!", "!  ", "a\0", "\ud800"])
def test_a_pattern_that_is_none_is_refused(text: str) -> None:
    """No name has a NUL, or a character that the file system cannot encode."""
    with pytest.raises(BadPattern):
        Excludes([text])


@pytest.mark.parametrize(
    ("patterns", "path"),
    [
        (["*a" * 60 + "b", "/" + "**/" * 40 + "a/**/" * 40 + "b", "*/" + "*a" * 60 + "b"], "a/" * 600 + "a" * 250),
        (["*-*-*-*.log", "/*-*-*-*.log", "**/*-*/**/*-*-*.log"], "-" * 255),
        # A star of a name after stars of folders.
        (["**/*a*/**/*a*/**/*a*/**/*b", "**/*/" * 300 + "b", "/**/a*/**/a*/**/a*/**/b"], "a/" * 2000 + "a"),
        (["a**/" * 300 + "b", "**\\/" * 300 + "b", "**/*[a-z]" * 300 + "b"], "a/" * 2000 + "a"),
        (["**/" + "*/" * 1000 + "b", "**/" + "*?/" * 500 + "**/b"], "a/" * 2000 + "a"),
        (["**/*" + "a" * 100 + "*" + "a" * 100 + "b/**/c", "**/" + "*a" * 100 + "/**/b"], "/".join(["a" * 254] * 16)),
    ],
    ids=range(6),
)
def test_many_stars_do_not_take_forever(patterns: list[str], path: str) -> None:
    """Each part of a pattern is searched for once, whatever the stars around it are."""
    began = time.process_time()
    assert not Excludes(patterns).match(b"/s", b"/s/" + path.encode(), False)
    assert time.process_time() - began < 2
