"""A file of keys, as people and shells write it, opens a server to whom it names and to nobody else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from afina.errors import UsageError
from afina.serve.http.keys import Keys, lie_open, read_keys
from afina.serve.http.refusals import Refusal
from served import served

ANA = "- {name: ana, key: secret-of-ana}"
DIGEST = "- {name: ana, sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae}"


def read(folder: Path, text: str, **alone: str) -> Keys:
    """Return the keys of a file of a text."""
    file = folder / "keys.yaml"
    file.write_bytes(text.encode())
    return read_keys(file, alone.get("api_key"), alone.get("admin_key"))


@pytest.mark.parametrize(
    "text",
    [
        f"# ours\n\n{ANA}\n\n# no more\n", f"{ANA}\r\n- name: bia\r\n  key: secret-of-bia\r\n", f"\ufeff{ANA}\n",
        "- name: ana # first\n  key: 'secret-of-ana'   \n",
    ],
    ids=["comments", "windows", "mark", "quoted"],
)  # fmt: skip
def test_as_editors_leave_them(tmp_path: Path, text: str) -> None:
    keys = read(tmp_path, text)
    assert keys.who("Bearer secret-of-ana").name == "ana"
    for given in ("secret-of-ana\r", "secret-of-ann", "", "ana", "#"):
        if given.strip() != "secret-of-ana":
            with pytest.raises(Refusal):
                keys.who(f"Bearer {given}")


@pytest.mark.parametrize("text", ["", "# nobody yet\n", "[]\n", "~\n", "{}\n"])
def test_a_file_of_no_key_opens_to_nobody(tmp_path: Path, text: str) -> None:
    """An empty list let everybody in."""
    with pytest.raises(UsageError, match="should be a list of keys"):
        read(tmp_path, text)


def test_a_file_of_admins_alone_lets_nobody_else_ask(tmp_path: Path) -> None:
    keys = read(tmp_path, "- {name: ana, key: secret-of-ana, admin: true}\n")
    assert keys.guards and keys.who("Bearer secret-of-ana").admin
    with pytest.raises(Refusal, match="A key is needed"):
        keys.who(None)
    # One that is given alone is as before: it guards what is an admin's.
    assert not read_keys(None, None, "secret-of-admin").guards


@pytest.mark.parametrize(
    "key", ['" secret-of-ana"', '"secret-of-ana\\n"', '"secret\\x7f-of-ana"', "|\n    secret-of-ana\n"]
)
def test_a_key_that_no_header_brings_is_refused_at_the_start(tmp_path: Path, key: str) -> None:
    """Whoever had it was told that it is not known."""
    with pytest.raises(UsageError, match=r"key 1.*a key cannot") as caught:
        read(tmp_path, f"- name: ana\n  key: {key}\n")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("option", ["api_key", "admin_key"])
def test_a_key_of_the_environment_that_no_header_brings_is_refused(option: str) -> None:
    """As a shell leaves it that reads a file with Windows' line ends."""
    with pytest.raises(UsageError, match=f"--{option.replace('_', '-')}: a key cannot") as caught:
        read_keys(None, **{"api_key": None, "admin_key": None} | {option: "secret-of-ana\r"})
    assert "secret" not in str(caught.value)


def test_nobody_is_called_as_whoever_has_no_key(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="log's name for whoever has no key"):
        read(tmp_path, "- {name: anyone, key: secret-of-ana}\n")


def test_keys_that_everybody_may_read_are_told(family_folder: Callable[..., Path], tmp_path: Path) -> None:
    file, said = tmp_path / "keys.yaml", list[str]()
    for text, mode, told in ((ANA, 0o644, True), (ANA, 0o640, False), (ANA, 0o600, False), (DIGEST, 0o644, False)):
        file.write_text(text)
        file.chmod(mode)
        assert lie_open(file) == told
    file.write_text(ANA)
    with served(family_folder("bert"), keys=file, tell=said.append):
        assert len(said) == 1 and "keys.yaml can be read by everybody" in said[0] and "secret" not in said[0]
