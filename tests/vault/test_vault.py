"""Making and opening a vault; `vault.json` is authenticated, and nothing else is taken for one."""

from __future__ import annotations

import hashlib
import hmac
import json
import multiprocessing
import os
import pickle
import signal
import stat
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tasks.cancel import CancelToken
from tasks.crypto.errors import Cancelled
from tasks.crypto.secret import Secret
from tasks.vault import locks
from tasks.vault.errors import NoVault, VaultBusy, VaultChanged, VaultError, VaultUnwritable, WrongKey
from tasks.vault.format import VaultKey, encode_line, encode_mac
from tasks.vault.vault import init_vault, is_vault, open_vault, why_no_vault
from tests.support.crafted import flip, put_in_place
from tests.support.crypto_fakes import SECRET, needs_openssl, openssl, run_python, vectors, without_root_rights
from tests.support.vaults import OTHER, verify

ID = "00112233445566778899aabbccddeeff"


def hkdf(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869, written anew."""
    prk = hmac.digest(salt or bytes(32), key, "sha256")
    okm = block = b""
    while len(okm) < length:
        block = hmac.digest(prk, block + info + bytes([len(okm) // 32 + 1]), "sha256")
        okm += block
    return okm[:length]


def test_derived_values_by_the_rfc() -> None:
    """MAC key and key check are HKDF-SHA-256 of the 64 digits, with the vault's id as salt and a label each."""
    key = VaultKey(SECRET, ID)
    mac_key = hkdf(SECRET.password, bytes.fromhex(ID), b"threadmill vault 1: mac", 32)
    mac = key.mac()
    mac.update(b"data")
    assert mac.digest() == hmac.digest(mac_key, b"data", hashlib.sha256)
    assert key.key_check == hkdf(SECRET.password, bytes.fromhex(ID), b"threadmill vault 1: key check", 16).hex()


def test_derived_values_are_these() -> None:
    """Known answers, made by another program.

    `openssl kdf -keylen 32 -kdfopt digest:SHA2-256 -kdfopt hexkey:$(printf %s "$KEY" | xxd -p -c 64)
    -kdfopt hexsalt:00112233445566778899aabbccddeeff -kdfopt info:'threadmill vault 1: mac' HKDF`, and with `-keylen 16`
    and `info:'threadmill vault 1: key check'`.
    """
    mac = VaultKey(SECRET, ID).mac()
    mac.update(b"")
    mac_key = bytes.fromhex("829ccd1bda5b170ad6814eff7c3497e166721fc52f2e49667cc0f81eb51bde97")
    assert mac.hexdigest() == hmac.new(mac_key, b"", "sha256").hexdigest()
    assert VaultKey(SECRET, ID).key_check == "0672d6a108ea947e5c22040e0c73fd06"


@needs_openssl
@pytest.mark.parametrize(("info", "length"), [("threadmill vault 1: mac", 32), ("threadmill vault 1: key check", 16)])
def test_derived_values_by_openssl(info: str, length: int) -> None:
    """Stock openssl derives the same."""
    options = ("digest:SHA2-256", f"hexkey:{SECRET.password.hex()}", f"hexsalt:{ID}", f"info:{info}")
    result = openssl("kdf", "-keylen", str(length), *(word for o in options for word in ("-kdfopt", o)), "HKDF")
    if result.returncode:
        pytest.skip("this openssl has no `kdf`")
    derived = bytes.fromhex(result.stdout.decode().replace(":", "").strip())
    assert derived == hkdf(SECRET.password, bytes.fromhex(ID), info.encode(), length)


def test_wycheproof_hkdf() -> None:
    """The primitive gives the known answers of Wycheproof."""
    groups = json.loads(vectors("wycheproof_hkdf_sha256.json").read_text())["testGroups"]
    tried = 0
    for test in (test for group in groups for test in group["tests"]):
        ikm, salt, info = (bytes.fromhex(test[name]) for name in ("ikm", "salt", "info"))
        if test["result"] == "invalid":
            with pytest.raises(ValueError, match="derive"):
                HKDF(SHA256(), test["size"], salt=salt, info=info)
            continue
        assert HKDF(SHA256(), test["size"], salt=salt, info=info).derive(ikm).hex() == test["okm"]
        assert hkdf(ikm, salt, info, test["size"]).hex() == test["okm"]
        tried += 1
    assert tried > 50


def test_a_key_is_shown_to_nobody() -> None:
    """Neither text nor a pickle of a vault's key has anything of it."""
    key = VaultKey(SECRET, ID)
    assert repr(key) == "VaultKey(…)"
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(key)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A new vault."""
    init_vault(str(tmp_path / "vault"), SECRET)
    return tmp_path / "vault"


def test_a_new_vault_is_for_its_owner(root: Path) -> None:
    """Folders 0700, files 0600; it is whole, and opens with and without its secret."""
    for path in (root, *root.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert sorted(path.name for path in root.iterdir()) == ["objects", "snapshots", "tmp", "vault.json"]
    with_key, without = open_vault(str(root), SECRET), open_vault(str(root), None)
    assert (with_key.id, with_key.root) == (without.id, without.root)
    assert [verdict.status for verdict in verify(with_key)] == ["ok"]
    assert verify(without) == []
    with pytest.raises(VaultError, match="needs its key file"):
        without.need_key()


def test_a_vault_is_made_once(root: Path, tmp_path: Path) -> None:
    """Making one where one is opens it, also through a link; two vaults under one secret share nothing."""
    (tmp_path / "link").symlink_to(root)
    assert init_vault(str(tmp_path / "link"), SECRET).id == open_vault(str(root), SECRET).id
    other = init_vault(str(tmp_path / "other"), SECRET)
    assert other.id != open_vault(str(root), SECRET).id
    assert other.need_key().key_check != open_vault(str(root), SECRET).need_key().key_check


def test_the_wrong_secret_is_refused(root: Path) -> None:
    """Another key file opens nothing, and adds nothing."""
    for way in (open_vault, init_vault):
        with pytest.raises(WrongKey, match="not the one that it was made with"):
            way(str(root), OTHER)


def test_every_changed_bit_is_found(root: Path) -> None:
    """Whichever bit of `vault.json` is changed, it opens no more."""
    path = root / "vault.json"
    size = path.stat().st_size
    for at in range(size):
        for bit in range(8):
            flip(path, at, bit)
            with pytest.raises(VaultError, match="was changed"):
                open_vault(str(root), SECRET)
            flip(path, at, bit)
    assert open_vault(str(root), SECRET).key


def test_every_length_is_found(root: Path) -> None:
    """Cut off anywhere, or longer by anything, it opens no more."""
    path = root / "vault.json"
    whole = path.read_bytes()
    for content in (*(whole[:length] for length in range(len(whole))), whole + b"\n", whole * 2, whole + bytes(9000)):
        path.write_bytes(content)
        with pytest.raises(VaultChanged, match=r"vault\.json was changed"):
            open_vault(str(root), SECRET)


def test_another_vaults_parameters_do_not_fit(root: Path, tmp_path: Path) -> None:
    """With `vault.json` of another vault under the same secret, no snapshot is believed."""
    other = init_vault(str(tmp_path / "other"), SECRET)
    os.replace(Path(other.root) / "vault.json", root / "vault.json")
    assert open_vault(str(root), SECRET).id == other.id


def sealed(**changes: object) -> bytes:
    """A `vault.json` with a MAC that fits."""
    values: dict[str, object] = {
        "format": "threadmill-vault", "version": 1, "id": ID, "created": "2026-01-01T00:00:00Z", "suite": "modern",
        "key_check": VaultKey(SECRET, ID).key_check,
    }  # fmt: skip
    line = encode_line({k: v for k, v in (values | changes).items() if v != "absent"})  # type: ignore[misc]
    mac = VaultKey(SECRET, ID).mac()
    mac.update(line)
    return line + encode_mac(mac.hexdigest())


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "x"}, {"version": 0}, {"version": True}, {"version": 1.0}, {"version": "1"}, {"id": ID[1:]},
        {"id": 1}, {"created": "now"}, {"created": "\uff12026-01-01T00:00:00Z"},
        {"suite": "classic"}, {"key_check": ""},
        {"key_check": "absent"}, {"more": 1},
    ],
)  # fmt: skip
def test_parameters_are_taken_strictly(root: Path, changes: dict[str, object]) -> None:
    """Authentic or not, a value that is not of its form is refused."""
    (root / "vault.json").write_bytes(sealed())
    assert open_vault(str(root), SECRET).id == ID
    (root / "vault.json").write_bytes(sealed(**changes))
    with pytest.raises(VaultChanged):
        open_vault(str(root), SECRET)


def test_a_later_format_is_named(root: Path) -> None:
    """A vault of a later release is not called damaged."""
    (root / "vault.json").write_bytes(sealed(version=2, cipher="new"))
    with pytest.raises(VaultError, match="has format 2") as caught:
        open_vault(str(root), SECRET)
    assert not isinstance(caught.value, VaultChanged)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_no_file_is_not_read(root: Path, kind: str) -> None:
    """A link, FIFO or folder in the place of `vault.json` is refused, neither followed nor waited for."""
    put_in_place(kind, root / "vault.json")
    with pytest.raises(VaultError, match=r"vault\.json cannot be read"):
        open_vault(str(root), SECRET)


def test_what_is_no_vault(tmp_path: Path) -> None:
    """Nothing there, other things there, no folder, no folder above it: each said, and nothing made."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "begun" / "tmp").mkdir(parents=True)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "objects").touch()
    for name, why, what in (
        ("full", "neither empty", "is no vault"),
        ("full/x", "not a folder", "is not a folder"),
        ("a/b", "folder above", "is not there"),
        ("odd", "neither empty", "is no vault"),
    ):
        assert why in (why_no_vault(str(tmp_path / name)) or "")
        with pytest.raises(NoVault, match=why):
            init_vault(str(tmp_path / name), SECRET)
        with pytest.raises(NoVault, match=what):
            open_vault(str(tmp_path / name), SECRET)
    assert why_no_vault(str(tmp_path / "begun")) is None
    assert init_vault(str(tmp_path / "begun"), SECRET).key
    assert not is_vault(str(tmp_path / "full"))


def test_a_vault_that_has_lost_its_parameters_is_not_made_anew(root: Path) -> None:
    """Whoever opens it, or would make one, is told what it was."""
    (root / "objects" / "ab").mkdir()
    (root / "vault.json").unlink()
    for use in (open_vault, init_vault):
        with pytest.raises(NoVault, match=r"vault\.json is missing: restore it from a copy"):
            use(str(root), SECRET)
    assert not is_vault(str(root))


def test_a_new_disk_is_as_good_as_an_empty_folder(tmp_path: Path) -> None:
    """What ext4 has at its root does not hinder."""
    (tmp_path / "lost+found").mkdir()
    assert init_vault(str(tmp_path), SECRET).key


def test_a_place_that_takes_nothing(tmp_path: Path) -> None:
    """No right to write: said, in one line."""
    (tmp_path / "closed").mkdir(mode=0o500)
    code = (
        "import sys; from tasks.vault.vault import init_vault; from tasks.crypto.secret import Secret\n"
        "from tasks.vault.errors import VaultUnwritable\n"
        "try: init_vault(sys.argv[1], Secret.draw())\n"
        "except VaultUnwritable as error: print(error)"
    )
    result = run_python(code, str(tmp_path / "closed" / "v"), before=without_root_rights())
    assert b"cannot be written: Permission denied" in result.stdout, result.stderr


def _make(path: str, ids: multiprocessing.Queue[str]) -> None:
    try:
        vault = init_vault(path, SECRET)
        with locks.writing(vault.root, CancelToken()):
            ids.put(vault.id)
    except Exception as error:  # noqa: BLE001 - it is told in the other process
        ids.put(repr(error))


def test_several_make_one_vault(tmp_path: Path) -> None:
    """Processes that start at once make one vault, and all of them open it."""
    context = multiprocessing.get_context("fork")
    for turn in range(5):
        ids: multiprocessing.Queue[str] = context.Queue()
        makers = [context.Process(target=_make, args=(str(tmp_path / str(turn)), ids)) for _ in range(6)]
        for maker in makers:
            maker.start()
        made = {ids.get(timeout=60) for _ in makers}
        for maker in makers:
            maker.join()
        assert made == {open_vault(str(tmp_path / str(turn)), SECRET).id}
        assert os.listdir(tmp_path / str(turn) / "tmp") == []


def test_killed_while_making(tmp_path: Path) -> None:
    """Killed at any moment, it is a vault or can be made one."""
    context = multiprocessing.get_context("fork")
    for turn in range(15):
        path = str(tmp_path / str(turn))
        maker = context.Process(target=init_vault, args=(path, SECRET))
        maker.start()
        time.sleep(turn / 2000)
        os.kill(maker.pid or 0, signal.SIGKILL)
        maker.join()
        vault = init_vault(path, SECRET)
        assert {verdict.status for verdict in verify(vault)} <= {"ok", "leftover"}


def test_who_removes_waits_for_who_adds(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many read and add at once; one that removes is alone, and says so when the others do not end."""
    monkeypatch.setattr(locks, "WAIT_S", 0.2)
    where, cancel = str(root), CancelToken()
    with (
        locks.writing(where, cancel),
        locks.writing(where, cancel),
        locks.reading(where, cancel),
        pytest.raises(VaultBusy, match="in use by another threadmill"),
        locks.alone(where, cancel),
    ):
        pass
    with locks.alone(where, cancel):
        for way in (locks.reading, locks.writing, locks.alone):
            with pytest.raises(VaultBusy), way(where, cancel):
                pass


def test_waiting_ends_when_cancelled(root: Path) -> None:
    """Who waits for a lock can be cancelled."""
    cancel = CancelToken()
    cancel.cancel()
    with (
        locks.alone(str(root), CancelToken()),
        pytest.raises(Cancelled),
        locks.alone(str(root), cancel),
    ):
        pass


def test_only_who_is_alone_sweeps(root: Path) -> None:
    """What is in `tmp/` is removed by the first one that adds, and left by one that comes beside it."""
    left = root / "tmp" / "left"
    left.touch()
    (root / "tmp" / "folder").mkdir()
    with locks.reading(str(root), CancelToken()):
        assert left.exists()
    with locks.writing(str(root), CancelToken()):
        assert not left.exists()
        left.touch()
        with locks.writing(str(root), CancelToken()):
            assert left.exists()
    assert (root / "tmp" / "folder").is_dir()


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_a_lock_that_is_no_file_is_refused(root: Path, kind: str) -> None:
    """A link, FIFO or folder in the place of the lock is refused, neither followed nor waited for."""
    put_in_place(kind, root / "lock")
    for way in (locks.reading, locks.writing, locks.alone):
        with pytest.raises(VaultError), way(str(root), CancelToken()):
            pass
    assert not root.with_name("kept").exists()


def test_a_copy_without_empty_folders_and_lock_is_whole(root: Path) -> None:
    """Copies made by programs that keep no empty folders can be read and added to."""
    (root / "tmp").rmdir()
    with locks.reading(str(root), CancelToken()):
        assert [verdict.status for verdict in verify(open_vault(str(root), SECRET))] == ["ok"]
    with locks.writing(str(root), CancelToken()):
        assert (root / "tmp").is_dir()


def test_a_vault_that_is_gone_cannot_be_locked(tmp_path: Path) -> None:
    """A folder that is not there is no vault to add to."""
    for way in (locks.reading, locks.writing, locks.alone, locks.numbering):
        with pytest.raises(VaultUnwritable, match="No such file"), way(str(tmp_path / "x"), CancelToken()):
            pass


def test_a_secret_of_another_form_is_never_taken() -> None:
    """The key of a vault is made of a `Secret`, whose form its key file assures."""
    with pytest.raises(ValueError, match="hexadecimal"):
        VaultKey(Secret(b"x"), "no hex")
