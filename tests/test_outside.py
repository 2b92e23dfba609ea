"""Whatever comes from outside, each parser takes it or refuses it with an error of its own, within moments."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cyclopts import Token
from hypothesis import example, given, settings
from hypothesis import strategies as st

from db.engine import open_engine, parse_url
from db.errors import RecordError
from flows.cli.encrypt import _parse_random
from flows.cli.options import end_in_time, point_in_time
from flows.errors import ApiError, CommandFailed, RequestRefused
from flows.option_types import _whole
from flows.serving import deployments, password, server
from flows.serving.api import Api
from flows.settings import Settings, load_settings, variable
from flows.text import parse_age, parse_percentage, parse_share
from tasks.axes import Guard, Outcome, Shape
from tasks.crypto.errors import KeyFileError
from tasks.crypto.secret import KeyFile
from tasks.threads.cases import Case, Sample
from tasks.threads.child import ChildEnd
from tasks.threads.interpreters import _parsed
from tasks.threads.measure import _with_end
from tasks.vault.entries import decode_entry
from tasks.vault.errors import VaultError
from tasks.vault.excludes import BadPattern, Excludes
from tasks.vault.format import BadLine, decode_line
from tasks.vault.header import decode_header, decode_totals
from tasks.vault.packs import members, parse_header, read_sidecar
from tasks.vault.snapshots import open_snapshot
from tasks.vault.vault import _decode, open_vault
from tests.support.vaults import Place, make_place

# The same every time; what was found once is an example.
bounded = settings(deadline=None, max_examples=40, derandomize=True)

DEEP = "[" * 100_000
DIGITS = "9" * 5000
words = st.one_of(
    st.text(max_size=30),
    st.text(st.sampled_from("0123456789.+-eExXkKMGTiB%dhmwW_: \u0663\udcff\0"), max_size=12),
    st.sampled_from(
        [DIGITS, f"{DIGITS}d", f"{DIGITS}%", f"1x{DIGITS}", f"{DIGITS}x1", "inf", "nan", "1e999", "-0", DEEP]
    ),
)
# JSON that Python writes, with all that it takes besides.
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("\ud800") | st.just(2**64),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
odd_texts = st.sampled_from(
    ["", DEEP, '{"a":' * 50_000, DIGITS, "[1,]", "NaN", "\x00", '{"a":1,"a":2}', "{}", "[]", "null"]
)


def mutated(whole: dict[str, Any]) -> st.SearchStrategy[Any]:
    """A value like this one, of which a part is gone or another thing."""

    @st.composite
    def draw_one(draw: st.DrawFn) -> Any:
        value = json.loads(json.dumps(whole))
        inner = [one for one in value.values() if isinstance(one, dict) and one]
        place = draw(st.sampled_from([value, *inner]))
        key = draw(st.sampled_from(sorted(place)))
        if draw(st.booleans()):
            place[key] = draw(anything)
        else:
            place.pop(key)
        return value

    return draw_one()


def tried(
    parse: Callable[..., object], *arguments: object, refused: type[Exception] | tuple[type[Exception], ...]
) -> None:
    """Call it: all that it may raise is its own error, with a message that is one line of bounded length."""
    said = ""
    try:
        parse(*arguments)
    except refused as error:
        said = str(error)
    assert len(said) < 1000, parse


@bounded
@given(words)
@example("0001-01-01")
@example("9999-12-31T23:59:59.999999")
@example("99999w")
def test_times_ages_sizes_and_numbers(text: str) -> None:
    """As options and as settings have them."""
    for parse in (point_in_time, end_in_time, _parse_random):
        tried(parse, text, refused=RequestRefused)
    for number in (parse_age, parse_percentage, lambda one: parse_share(one, 2**50)):
        tried(number, text, refused=ValueError)
    tried(_whole, int, [Token(keyword="--number", value=text)], refused=RequestRefused)
    with suppress(RequestRefused):
        # What follows is computed with it.
        assert point_in_time(text) < datetime.max.replace(tzinfo=UTC)


@bounded
@given(words.filter(lambda text: "\0" not in text))
@example("inf")
@example("1e308")
def test_settings(text: str) -> None:
    """Every variable, whatever it is set to; a number that is taken can be counted with."""
    before = dict(os.environ)
    try:
        for name in Settings.__dataclass_fields__:
            with suppress(UnicodeEncodeError, RequestRefused):
                os.environ[variable(name)] = text
                taken = getattr(load_settings(), name)
                if isinstance(taken, float):
                    assert math.isfinite(taken)
                    assert int(taken * 2**30) >= 0
            os.environ.pop(variable(name), None)
    finally:
        os.environ.clear()
        os.environ.update(before)


@bounded
@given(st.text(max_size=40) | st.text(st.sampled_from("sqlite:/postgresql@%?#=[]\udcff\ud800 \0:1"), max_size=30))
@example("sqlite:///\udcff")
@example("sqlite:///\ud800")
@example("postgresql://[::1")
@example("postgresql://h:99999999999/x")
def test_database_urls(text: str) -> None:
    """Parsed, and an engine made for it."""

    def use(text: str) -> None:
        for readonly in (True, False):
            open_engine(parse_url(text), readonly=readonly).dispose()

    tried(use, text, refused=RecordError)


@bounded
@given(
    st.binary(max_size=80) | st.text(st.sampled_from("0123456789abcdefF\r\n"), min_size=60, max_size=70).map(str.encode)
)
@example(b"0" * 64 + b"\n\n")
@example(b"0" * 64 + b"\r\n")
@example(b"")
def test_key_files(content: bytes) -> None:
    """None is taken but 64 hex digits and a newline."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        tried(KeyFile(file.name).secret, refused=KeyFileError)


FACTS = {"version": "3.12.1", "implementation": "cpython", "gil_build": "True"}
TOLD = {"executable": "/python", "facts": FACTS, "gil_now": True, "cannot": {"thread": "why"}}
SAMPLE = {"outcome": "lost", "wall_ns": 5, "expected": "10", "found": "9", "foreign_share": 0.5, "gil_on": True}


@bounded
@given(odd_texts | mutated(TOLD).map(json.dumps))
def test_descriptions_of_interpreters(text: str) -> None:
    """What is taken has a name, a place in a list, and a form that every database takes."""
    with suppress(ValueError, KeyError):
        found = _parsed(text)
        json.dumps(found.facts, ensure_ascii=False).encode()
        assert found.sort_key
        assert found.label.encode()


@bounded
@given(odd_texts | mutated(SAMPLE).map(json.dumps))
def test_answers_of_children(text: str) -> None:
    """They are a sample, or garbled."""
    race = Case.race(Guard.NONE, Shape.AUGMENTED)
    blank = Sample(race, "0" * 64, "0" * 64, 0, datetime.now(UTC), Outcome.SKIPPED)
    found = _with_end(blank, ChildEnd("exited", 0, text, ""), 1.0)
    if found.outcome in {"lost", "none-observed"}:
        assert int(str(found.expected)) > 0
        assert -(2**63) <= int(str(found.found)) < 2**63


@bounded
@given(st.lists(st.text(max_size=25) | words, max_size=4), st.binary(min_size=1, max_size=40))
@example(["[[:" + "a" * 5000], b"a")
@example(["[" + "a-" * 5000 + "]"], b"a")
@example(["\\" * 5001], b"\\")
def test_patterns(texts: list[str], path: bytes) -> None:
    """Excludes of any text, held against a path of any bytes."""
    tried(lambda: Excludes(texts, [b"/s"]).match(b"/s", b"/s/" + path, False), refused=BadPattern)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A vault with a snapshot."""
    made = make_place(tmp_path_factory.mktemp("vault"))
    for number in range(5):
        made.put(f"file {number}", bytes(range(256)) * number)
    made.add()
    return made


def other_bytes(draw: Callable[[Any], Any], content: bytes) -> bytes:
    """The content with some bytes that are others, or are missing."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(changed) - 1)))
        changed[at : at + draw(st.integers(0, 5))] = draw(st.binary(max_size=5))
    return bytes(changed)


@bounded
@given(st.data())
def test_lines_of_vaults(place: Place, data: st.DataObject) -> None:
    """`vault.json`, and each kind of a snapshot's lines, with other bytes or of another form."""
    with open_snapshot(place.vault, place.add().name) as opened:
        lines = [bytes(line) for line in opened.lines()]
    raw = (place.root / "vault.json").read_bytes()
    tried(_decode, "/v", other_bytes(data.draw, raw), refused=VaultError)
    for parse in (decode_line, decode_header, decode_totals, decode_entry):
        tried(parse, other_bytes(data.draw, data.draw(st.sampled_from(lines))), refused=BadLine)
        tried(parse, data.draw(odd_texts).encode() + b"\n", refused=BadLine)
    tried(
        decode_header,
        json.dumps(data.draw(mutated(json.loads(_first(place)))), separators=(",", ":")).encode(),
        refused=BadLine,
    )


def _first(place: Place) -> bytes:
    with open_snapshot(place.vault, min(os.listdir(place.root / "snapshots"))) as opened:
        return next(iter(opened._all_lines()))


@bounded
@given(st.data())
def test_files_of_vaults(place: Place, data: st.DataObject) -> None:
    """Snapshots, indexes and packs with other bytes: without the key, which is the most that reads of them."""
    keyless = open_vault(str(place.root), None)
    (snapshot, *_), (index, *_) = (sorted((place.root / name).iterdir()) for name in ("snapshots", "index"))
    content = snapshot.read_bytes()
    try:
        snapshot.write_bytes(other_bytes(data.draw, content))

        def read() -> None:
            with open_snapshot(keyless, snapshot.name) as opened:
                assert list(opened.lines_and_entries())

        tried(read, refused=VaultError)
    finally:
        snapshot.write_bytes(content)
    pack = (place.root / "packs" / index.name[:2] / index.name).read_bytes()
    sidecar = index.read_bytes()
    try:
        index.write_bytes(other_bytes(data.draw, sidecar))
        assert read_sidecar(str(place.root), index.name, len(pack)) in (None, sidecar[24:-32])
    finally:
        index.write_bytes(sidecar)
    changed = other_bytes(data.draw, pack)
    for _, at, size in members(lambda at: changed[at : at + 512], len(changed)):
        assert at > 0
        assert size > 0
    assert parse_header(data.draw(st.binary(max_size=600))) is None


class Answers:
    """A server that gives these for lists."""

    url = "http://127.0.0.1:1/api"

    def __init__(self, answers: Iterable[Any]) -> None:
        self._answers: Iterator[Any] = iter(answers)

    def list(self, *_path: str, **_body: Any) -> Any:
        return next(self._answers, [])


SCHEDULE = {"slug": "nightly", "active": True, "schedule": {"cron": "0 2 * * *", "timezone": "UTC"}}
DEPLOYMENT = {
    "id": "1", "name": "survey", "entrypoint": "flows.survey.survey", "paused": False, "work_queue_name": "measure",
    "work_pool_name": "threadmill", "schedules": [SCHEDULE],
}  # fmt: skip
RUN = {
    "id": "1", "name": "odd-owl", "start_time": "2026-11-22T03:00:00Z", "expected_start_time": "2026-11-22T03:00:00Z",
    "state": {"name": "Completed", "type": "COMPLETED", "message": None},
}  # fmt: skip
a_list = anything | st.lists(mutated(DEPLOYMENT) | mutated(RUN) | st.just(RUN), max_size=2)


@bounded
@given(st.lists(mutated(DEPLOYMENT), max_size=2), st.lists(a_list, max_size=6))
@example([DEPLOYMENT], [[{"status": "ONLINE"}], [RUN | {"expected_start_time": "99999-01-01"}]])
@example([DEPLOYMENT], [7, 7, 7])
def test_answers_of_a_server(first: list[Any], others: list[Any]) -> None:
    """They are Prefect's, or none of them is taken."""

    def read() -> None:
        api: Any = Answers([first, *others])
        assert deployments.read_deployments(api).complaints is not None
        deployments.upcoming(api)

    tried(read, refused=ApiError)


@bounded
@given(st.binary(max_size=40) | anything.map(lambda one: json.dumps(one).encode()))
@example(b'{"url": 1, "pid": 1e999}')
@example(b'{"url": "x", "pid": [1]}')
@example(b"deployments: [1]\n")
@example(b"deployments: " + b"[" * 2000)
@example(b"&a [*a, *a]\n")
@example(b"profiles = 3\n")
@example(b"active = 1\n[profiles]\nx = 2\n")
@example(b"[profiles.x]\ny = 1979-05-27\n")
@example(b"a = " + b"[" * 100_000)
def test_files_of_serve(content: bytes) -> None:
    """Its state, the deployments that users may change, and Prefect's profiles."""
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        os.makedirs(f"{home}/locks")
        Path(f"{home}/locks/serve.json").write_bytes(content)
        found = server._read(home)
        assert found is None or isinstance(found.pid, int)
        patch.setattr(deployments, "PREFECT_YAML", Path(f"{home}/locks/serve.json"))
        tried(deployments._declared, refused=CommandFailed)
        environment = {"PREFECT_PROFILES_PATH": f"{home}/locks/serve.json", "PREFECT_API_URL": "http://127.0.0.1:1"}
        assert {*map(type, password.active_profile(environment).values())} <= {str}
        Api(environment)
