"""Making and opening a vault; `vault.json` is authenticated, and nothing else is taken for one."""

from __future__ import annotations

import hmac
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from tasks.cancel import CancelToken
from tasks.crypto.ciphers import ENCRYPTORS, derive
from tasks.crypto.secret import Secret
from tasks.vault import locks
from tasks.vault.errors import NoVault, OtherFormat, VaultChanged, VaultError, WrongKey
from tasks.vault.format import VaultKey, encode_line
from tasks.vault.vault import SUITE, adopt_vault, init_vault, is_vault, open_vault
from tests.support import vault_reader
from tests.support.crafted import flip, put_in_place
from tests.support.crypto_fakes import SECRET, modest, needs_openssl, openssl, run_python, vectors, without_root_rights
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


# Known answers, made by another program: `openssl kdf -keylen 32 -kdfopt digest:SHA2-256
# -kdfopt hexkey:$(printf %s "$KEY" | xxd -p -c 64) -kdfopt hexsalt:00112233445566778899aabbccddeeff
# -kdfopt info:"threadmill vault 2: $LABEL" HKDF`, the last one with `-keylen 16`.
DERIVED = {
    "snapshot mac": "5335cdd249750cd07b9b6fd7e9d7dbbbbcfd73d750cbbd6fa2ba3a4bdb1df13b",
    "salt": "64a690060936a6e13aed4b50ae7fe3e2135dae72afa1a1674888266d1b62c00f",
    "content mac": "e465b3f7aacdb93e699eb413bf8fc1f3086eea68bcafde8ad0e15675651aae90",
    "parameters": "59ac043e2adfe48d33addf96869648df65c6734d0430679a61e7c5e7658fb9ed",
    "key check": "3f025be2984000480bae9dd7ab00b647",
}


def keyed(label: str, data: bytes) -> bytes:
    """HMAC-SHA-256 under one of the known keys."""
    return hmac.digest(bytes.fromhex(DERIVED[label]), data, "sha256")


@pytest.mark.parametrize("label", DERIVED)
def test_derived_keys_by_the_rfc(label: str) -> None:
    """HKDF-SHA-256 of the 64 digits, with the vault's id as salt and a label each."""
    length = len(DERIVED[label]) // 2
    assert (
        hkdf(SECRET.password, bytes.fromhex(ID), b"threadmill vault 2: " + label.encode(), length).hex()
        == (DERIVED[label])
    )


@needs_openssl
@pytest.mark.parametrize("label", DERIVED)
def test_derived_keys_by_openssl(label: str) -> None:
    """Stock openssl derives the same."""
    info = f"info:threadmill vault 2: {label}"
    options = ("digest:SHA2-256", f"hexkey:{SECRET.password.hex()}", f"hexsalt:{ID}", info)
    length = str(len(DERIVED[label]) // 2)
    result = openssl("kdf", "-keylen", length, *(word for o in options for word in ("-kdfopt", o)), "HKDF")
    if result.returncode:
        pytest.skip("this openssl has no `kdf`")
    assert result.stdout.decode().replace(":", "").strip().lower() == DERIVED[label]


@pytest.mark.parametrize("data", [b"", b"content", bytes(range(256)) * 20])
def test_each_use_has_the_key_of_its_label(data: bytes) -> None:
    """The MACs of snapshots, of `vault.json` and of contents, and salts, are under these keys and no others."""
    key = VaultKey(SECRET, ID)
    for label, mac in (("snapshot mac", key.mac()), ("parameters", key.parameters_mac())):
        mac.update(data)
        assert mac.digest() == keyed(label, data)
    assert key.content_mac(data) == keyed("content mac", data)[:16]
    assert key.salt_of(data) == keyed("salt", data)[:8]
    assert key.key_check == DERIVED["key check"]


def test_salts_and_macs_of_contents_are_these() -> None:
    """Known answers, made by another program: `openssl dgst -sha256 -mac HMAC -macopt hexkey:$DERIVED`."""
    key = VaultKey(SECRET, ID)
    assert key.salt_of(b"").hex() == "daa7046c3ecb0013"
    assert key.salt_of(b"content").hex() == "87cc446fe3bb6319"
    assert key.content_mac(b"").hex() == "938de0b4827f425ad90e7f1bc4ae9d8c"
    assert key.content_mac(b"content").hex() == "c1c9037d4ad67193a24b9ea5f3129292"


def test_a_vault_of_another_id_has_other_keys() -> None:
    """Two vaults under one key file share no salt, MAC or key check."""
    one, other = (VaultKey(SECRET, vault_id) for vault_id in (ID, ID[::-1]))
    assert one.salt_of(b"content") != other.salt_of(b"content")
    assert one.content_mac(b"content") != other.content_mac(b"content")
    assert one.mac().digest() != other.mac().digest()
    assert one.parameters_mac().digest() != other.parameters_mac().digest()
    assert one.key_check != other.key_check


@modest
@given(st.lists(st.binary(max_size=100), max_size=5))
def test_a_mac_of_pieces_is_the_mac_of_the_whole(pieces: list[bytes]) -> None:
    """In one call or fed, in bytes or views; a key is not used up by it."""
    key = VaultKey(SECRET, ID)
    whole, fed = b"".join(pieces), key.content_macs()
    for piece in pieces:
        fed.update(memoryview(piece))
    assert fed.finalize()[:16] == key.content_mac(*pieces) == key.content_mac(memoryview(whole))
    assert key.salt_of(memoryview(whole)) == key.salt_of(whole) == keyed("salt", whole)[:8]


@needs_openssl
def test_the_cipher_is_that_of_openssl() -> None:
    """`openssl enc -aes-256-ctr -pbkdf2 -iter 1 -md sha256 -pass pass:$KEY -S 0123456789abcdef`."""
    salt = bytes.fromhex("0123456789abcdef")
    assert bytes(encrypted(b"content", salt)).hex() == "733e8708be44ca"
    options = ("-aes-256-ctr", "-pbkdf2", "-iter", "1", "-md", "sha256", "-S", salt.hex(), "-pass")
    result = openssl("enc", *options, f"pass:{SECRET.password.decode()}", stdin=bytes(100_000))
    assert result.stdout.removeprefix(b"Salted__" + salt) == encrypted(bytes(100_000), salt)


@modest
@given(st.binary(max_size=100), st.binary(min_size=8, max_size=8))
def test_the_cipher_is_that_of_the_suite(data: bytes, salt: bytes) -> None:
    """The quick derivation gives what the suite's does."""
    other = bytearray(len(data) + 15)
    count = ENCRYPTORS[SUITE.cipher](*derive(SUITE, SECRET, salt)).update_into(data, other)
    assert encrypted(data, salt) == other[:count]


def encrypted(data: bytes, salt: bytes) -> bytearray:
    """Data under the cipher of a vault's key."""
    buffer = bytearray(len(data) + 15)
    count = VaultKey(SECRET, ID).cipher(salt).update_into(data, buffer)
    return buffer[:count]


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
    folders = ["index", "objects", "packs", "partials", "snapshots", "tmp"]
    assert sorted(path.name for path in root.iterdir()) == [*folders, "vault.json"]
    assert not any(list((root / folder).iterdir()) for folder in folders)
    with_key, without = open_vault(str(root), SECRET), open_vault(str(root), None)
    assert (with_key.id, with_key.root) == (without.id, without.root)
    assert [verdict.status for verdict in verify(with_key)] == ["ok"]
    assert verify(without) == []
    with pytest.raises(VaultError, match="needs its key file"):
        without.need_key()


def test_a_vault_is_made_once(root: Path, tmp_path: Path) -> None:
    """Making one where one is changes nothing, also through a link; two vaults under one secret share nothing."""
    (tmp_path / "link").symlink_to(root)
    before = (root / "vault.json").read_bytes()
    for path in (root, tmp_path / "link"):
        for secret in (SECRET, OTHER):
            with pytest.raises(NoVault, match="is a vault already"):
                init_vault(str(path), secret)
    assert (root / "vault.json").read_bytes() == before
    other = init_vault(str(tmp_path / "other"), SECRET)
    assert other.id != open_vault(str(root), SECRET).id
    assert other.need_key().key_check != open_vault(str(root), SECRET).need_key().key_check


def test_a_vault_says_how_its_salts_are_made(root: Path, tmp_path: Path) -> None:
    """By the content, unless it was made with random ones."""
    assert not init_vault(str(tmp_path / "content"), SECRET).random_salts
    assert init_vault(str(tmp_path / "random"), SECRET, random_salts=True).random_salts
    assert open_vault(str(tmp_path / "random"), None).random_salts


def test_an_adopted_copy_has_an_instance_of_its_own(root: Path, tmp_path: Path) -> None:
    """Its id, keys and all else stay, also where it has no `tmp/`; an adopted one may be copied and adopted again."""
    shutil.copytree(root, tmp_path / "copy")
    (tmp_path / "copy" / "tmp").rmdir()
    vault = open_vault(str(tmp_path / "copy"), SECRET)
    known = {vault.instance}
    assert known == {vault.id} == {open_vault(str(root), None).instance}
    for _ in range(2):
        adopted = adopt_vault(vault)
        known.add(adopted.instance)
        assert adopted == replace(vault, instance=adopted.instance, key=adopted.key)
        assert open_vault(str(tmp_path / "copy"), None).instance == adopted.instance
        assert adopted.need_key().key_check == vault.need_key().key_check
    assert len(known) == 3
    before, after = (
        json.loads((folder / "vault.json").read_bytes().splitlines()[0]) for folder in (root, tmp_path / "copy")
    )
    assert list(after) == ["format", "version", "id", "instance", "created", "suite", "salts", "key_check"]
    assert before == {name: value for name, value in after.items() if name != "instance"}
    assert [verdict.status for verdict in verify(adopted)] == ["ok"]
    assert vault_reader_id(tmp_path / "copy", tmp_path) == vault.id
    with pytest.raises(VaultError, match="needs its key file"):
        adopt_vault(open_vault(str(root), None))


def vault_reader_id(folder: Path, tmp_path: Path) -> str:
    """The id that the reader by the document finds, which checks `vault.json`."""
    (tmp_path / "secret").write_bytes(SECRET.password + b"\n")
    return str(vault_reader.Reader(str(folder), str(tmp_path / "secret")).id)


def test_the_wrong_secret_is_refused(root: Path) -> None:
    """Another key file opens nothing."""
    with pytest.raises(WrongKey, match="not the one that it was made with"):
        open_vault(str(root), OTHER)


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


def mac_line(mac: str) -> bytes:
    """The last line of `vault.json`."""
    return b'{"hmac_sha256":"%b"}\n' % mac.encode()


def test_the_mac_has_a_line_of_one_form(root: Path) -> None:
    """Without the key, too, when it cannot be checked."""
    path = root / "vault.json"
    begin, _, line = path.read_bytes().rpartition(b"}\n{")
    begin, line = begin + b"}\n", b"{" + line
    assert len(line) == 83
    for other in (
        line[:-1],
        line + b"\n",
        line.upper(),
        line.replace(b":", b": "),
        b" " + line,
        b"",
        line[:70] + line[71:],
    ):
        path.write_bytes(begin + other)
        with pytest.raises(VaultChanged, match="is not JSON"):
            open_vault(str(root), None)
    path.write_bytes(begin + line)
    assert open_vault(str(root), None).id


def sealed(**changes: object) -> bytes:
    """A `vault.json` with a MAC that fits."""
    values: dict[str, object] = {
        "format": "threadmill-vault", "version": 2, "id": ID, "created": "2026-01-01T00:00:00Z", "suite": "modern",
        "salts": "content", "key_check": VaultKey(SECRET, ID).key_check,
    }  # fmt: skip
    line = encode_line({k: v for k, v in (values | changes).items() if v != "absent"})  # type: ignore[misc]
    mac = VaultKey(SECRET, ID).parameters_mac()
    mac.update(line)
    return line + mac_line(mac.hexdigest())


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "x"}, {"version": True}, {"version": 2.0}, {"version": "2"}, {"id": ID[1:]},
        {"id": 1}, {"created": "now"}, {"created": "\uff12026-01-01T00:00:00Z"},
        {"suite": "classic"}, {"salts": "none"}, {"salts": "random "}, {"salts": True}, {"salts": "absent"},
        {"key_check": ""}, {"key_check": "absent"}, {"more": 1}, {"instance": ""}, {"instance": None}, {"instance": 1},
        {"instance": ID[1:]},
    ],
)  # fmt: skip
def test_parameters_are_taken_strictly(root: Path, changes: dict[str, object]) -> None:
    """Authentic or not, a value that is not of its form is refused."""
    (root / "vault.json").write_bytes(sealed())
    assert open_vault(str(root), SECRET).id == ID
    (root / "vault.json").write_bytes(sealed(**changes))
    with pytest.raises(VaultChanged):
        open_vault(str(root), SECRET)


@pytest.mark.parametrize("version", [0, 1, 3])
def test_another_format_is_named(root: Path, version: int) -> None:
    """A vault of an earlier or a later format is not called damaged, and refused in one line."""
    (root / "vault.json").write_bytes(sealed(version=version, cipher="new"))
    with pytest.raises(OtherFormat, match=rf"has format {version} .*; this program knows 2$"):
        open_vault(str(root), SECRET)


def test_the_mac_of_a_snapshot_is_none_of_the_parameters(root: Path) -> None:
    """A line under the key of snapshots is no `vault.json`, although it has the key check."""
    line = sealed()[: -len(mac_line("0" * 64))]
    mac = VaultKey(SECRET, ID).mac()
    mac.update(line)
    (root / "vault.json").write_bytes(line + mac_line(mac.hexdigest()))
    with pytest.raises(VaultChanged, match="its MAC does not fit"):
        open_vault(str(root), SECRET)


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
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "objects").touch()
    (tmp_path / "users").mkdir()
    (tmp_path / "users" / "tmp").mkdir()
    (tmp_path / "users" / "tmp" / "letter").touch()
    (tmp_path / "alike" / "tmp").mkdir(parents=True)
    (tmp_path / "alike" / "tmp" / "0123456789abcdef").touch()
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "tmp").symlink_to(tmp_path / "full")
    for name, why, what in (
        ("full", "in a folder that is empty", "is no vault"),
        ("full/x", "not a folder", "is not a folder"),
        ("a/b", "folder above", "is not there"),
        ("odd", "in a folder that is empty", "is no vault"),
        ("users", "in a folder that is empty", "is no vault"),
        ("alike", "in a folder that is empty", "is no vault"),
        ("linked", "in a folder that is empty", "is no vault"),
    ):
        with pytest.raises(NoVault, match=why):
            init_vault(str(tmp_path / name), SECRET)
        with pytest.raises(NoVault, match=what) as caught:
            open_vault(str(tmp_path / name), SECRET)
        assert "`threadmill vault init DIR` makes one" in str(caught.value) or what == "is not a folder"
        assert not is_vault(str(tmp_path / name))
    assert (tmp_path / "users" / "tmp" / "letter").exists()


def test_a_vault_that_was_only_begun_is_made(tmp_path: Path) -> None:
    """What is left by a process that was killed does not hinder: empty folders, and files of ours in `tmp/`."""
    for folder in ("packs", "objects", "index", "snapshots", "partials", "tmp", "lost+found"):
        (tmp_path / folder).mkdir()
    (tmp_path / "tmp" / "0123456789abcdef").touch()
    assert init_vault(str(tmp_path), SECRET).key


def test_a_vault_that_has_lost_its_parameters_is_not_made_anew(root: Path) -> None:
    """Whoever opens it, or would make one, is told what it was."""
    for folder in ("objects", "packs"):
        (root / folder / "ab").mkdir()
        (root / "vault.json").rename(root.with_name("kept"))
        for use in (open_vault, init_vault):
            with pytest.raises(NoVault, match=r"vault\.json is missing: restore it from a copy"):
                use(str(root), SECRET)
        assert not is_vault(str(root))
        root.with_name("kept").rename(root / "vault.json")
        (root / folder / "ab").rmdir()


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


def _make(path: str, ends: multiprocessing.Queue[str]) -> None:
    try:
        vault = init_vault(path, SECRET)
        with locks.writing(vault.root, CancelToken()):
            ends.put("made")
    except NoVault as error:
        ends.put(error.reason)
    except Exception as error:  # noqa: BLE001 - it is told in the other process
        ends.put(repr(error))


def test_several_make_one_vault(tmp_path: Path) -> None:
    """Of processes that start at once one makes the vault, and the others are told that there is one."""
    context = multiprocessing.get_context("fork")
    for turn in range(5):
        ends: multiprocessing.Queue[str] = context.Queue()
        makers = [context.Process(target=_make, args=(str(tmp_path / str(turn)), ends)) for _ in range(6)]
        for maker in makers:
            maker.start()
        told = sorted(ends.get(timeout=60) for _ in makers)
        for maker in makers:
            maker.join()
        assert told == [*["is a vault already"] * 5, "made"]
        assert open_vault(str(tmp_path / str(turn)), SECRET).key
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
        vault = open_vault(path, SECRET) if is_vault(path) else init_vault(path, SECRET)
        assert {verdict.status for verdict in verify(vault)} <= {"ok", "leftover"}


def test_a_secret_of_another_form_is_never_taken() -> None:
    """The key of a vault is made of a `Secret`, whose form its key file assures."""
    with pytest.raises(ValueError, match="hexadecimal"):
        VaultKey(Secret(b"x"), "no hex")
