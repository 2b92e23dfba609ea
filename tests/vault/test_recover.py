"""A `vault.json` that is gone or changed: the snapshots tell what it was, and verify says what is wrong with it."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest

from tasks.crypto.secret import KeyFile, Secret, write_key_file
from tasks.vault.errors import NoVault, OtherFormat, VaultError, WrongKey
from tasks.vault.lookup import open_or_recover, open_place
from tasks.vault.vault import Vault, init_vault
from tests.support.crafted import craft
from tests.support.crypto_fakes import SECRET


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """One with a snapshot."""
    made = init_vault(str(tmp_path / "vault"), SECRET)
    craft(made, [])
    return made


def parameters(vault: Vault) -> Path:
    return Path(vault.root) / "vault.json"


def test_a_place_opens_the_vault_that_was_planned_for_and_no_other(tmp_path: Path) -> None:
    """Another folder, another vault in the same folder, or another key file is refused in one line."""
    key = KeyFile(str(tmp_path / "key"))
    write_key_file(key.path)
    vault = init_vault(str(tmp_path / "vault"), key.secret())
    place = pickle.loads(pickle.dumps(vault.place()))  # noqa: S301 - our own bytes
    assert open_place(place, key).id == open_place(place, None).id == vault.id
    write_key_file(str(tmp_path / "other"))
    with pytest.raises(WrongKey):
        open_place(place, KeyFile(str(tmp_path / "other")))
    (tmp_path / "vault" / "vault.json").rename(tmp_path / "kept.json")
    other = init_vault(str(tmp_path / "vault"), key.secret())
    assert other.place().folder == place.folder
    with pytest.raises(VaultError, match="another vault is there"):
        open_place(place, key)
    (tmp_path / "vault").rename(tmp_path / "moved")
    with pytest.raises(NoVault):
        open_place(place, key)
    init_vault(str(tmp_path / "vault"), key.secret())
    with pytest.raises(VaultError, match="another folder is there"):
        open_place(place, key)


def test_a_whole_vault_has_no_fault(vault: Vault) -> None:
    """Nothing is wrong with what was just made."""
    assert open_or_recover(vault.root, SECRET)[1] is None


def test_no_vault_json_at_all(vault: Vault) -> None:
    """It is missing, and the vault is the one that its snapshots are of."""
    parameters(vault).unlink()
    opened, fault = open_or_recover(vault.root, SECRET)
    assert opened.id == vault.id
    assert fault is not None
    assert fault.status == "missing"


@pytest.mark.parametrize("bit", [0, 1, 2, 3])
def test_a_version_that_was_changed_is_no_other_format(vault: Vault, bit: int) -> None:
    """A 3 in the place of the 2 is one bit: the vault's own snapshots tell that from a vault of the future."""
    path = parameters(vault)
    changed = b'"version":%d' % (2 ^ 1 << bit)
    path.write_bytes(path.read_bytes().replace(b'"version":2', changed))
    opened, fault = open_or_recover(vault.root, SECRET)
    assert opened.id == vault.id
    assert fault is not None
    assert (fault.kind, fault.status) == ("vault", "changed")


def test_parts_of_a_first_run_tell_what_it_was(vault: Vault) -> None:
    """A vault without any snapshot yet is recovered by what its first run made durable."""
    shutil.rmtree(Path(vault.root) / "snapshots")
    (Path(vault.root) / "snapshots").mkdir()
    craft(vault, [], partial=("0123456789abcdef", 1))
    (Path(vault.root) / "packs" / "ab").mkdir()
    parameters(vault).unlink()
    opened, fault = open_or_recover(vault.root, SECRET)
    assert opened.id == vault.id
    assert fault is not None
    assert fault.status == "missing"


def test_what_is_recovered_shows_nothing_to_be_equal(vault: Vault) -> None:
    """Nobody knows how the salts were made, so that they would be random ones."""
    parameters(vault).unlink()
    assert open_or_recover(vault.root, SECRET)[0].random_salts


def test_one_that_cannot_be_read(vault: Vault) -> None:
    """What stands in its place is no file: that is said, and the rest is looked at all the same."""
    parameters(vault).unlink()
    parameters(vault).mkdir()
    fault = open_or_recover(vault.root, SECRET)[1]
    assert fault is not None
    assert fault.status == "unreadable"


def test_nothing_is_recovered_where_nothing_is_authentic(vault: Vault, tmp_path: Path) -> None:
    """Under another key, without a key, and where there is no snapshot, it is refused as ever."""
    with pytest.raises(WrongKey):
        open_or_recover(vault.root, Secret.draw())
    path = parameters(vault)
    path.write_bytes(path.read_bytes().replace(b'"version":2', b'"version":3'))
    with pytest.raises(OtherFormat):
        open_or_recover(vault.root, None)
    with pytest.raises(NoVault):
        open_or_recover(str(tmp_path), SECRET)
