"""Where keys and passphrases come from: a file, the environment, or a prompt that doesn't show them.

Rule: never an argument. Every process on the machine can read those.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import attrs
import click

from olmstate.storage import open_store

from ._commands import run
from ._paths import FILE, read

KEY_BYTES = 32

MOST_BYTES = 65_536
"""Of a key, or a passphrase."""


@attrs.frozen(kw_only=True)
class Secret:
    """A key or passphrase that the user names, and that is read when it is needed."""

    what: str
    """As a prompt: ``Passphrase of the store``."""
    variable: str
    """The environment variable."""
    option: str
    """What names a file with a passphrase."""
    passphrase_file: Path | None = None
    key_file: Path | None = None

    def passphrase(self, *, new: bool = False) -> str:
        """The passphrase; ``new``: at a prompt it must be typed twice."""
        if self.passphrase_file is not None:
            passphrase = _passphrase_in(self.passphrase_file)
            if new and not passphrase:
                raise click.ClickException(f"{self.passphrase_file} holds no passphrase")
            return passphrase
        if os.environ.get(self.variable):
            return os.environ[self.variable]
        return self._ask(new=new)

    @property
    def is_asked_for(self) -> bool:
        """Whether it comes from the prompt."""
        return self.passphrase_file is None and self.key_file is None and not os.environ.get(self.variable)

    def _ask(self, *, new: bool) -> str:
        try:
            typed: str = click.prompt(self.what, hide_input=True, confirmation_prompt=new, err=True)
        except click.Abort as abort:
            if isinstance(abort.__context__, EOFError):
                raise click.ClickException(
                    f"there is nobody to ask for this: {self.what}. Name a file that has it with {self.option}, "
                    f"or set {self.variable}"
                ) from None
            raise
        return typed

    def key_or_passphrase(self, *, new: bool = False) -> bytes | str:
        """The key if a file with one was named, else the passphrase."""
        if self.key_file is None:
            return self.passphrase(new=new)
        if self.passphrase_file is not None:
            raise click.UsageError("Give a passphrase or a key, not both.")
        return _key_in(self.key_file)

    def for_store(self, sealed: str) -> bytes | str | None:
        """What opens a store that is sealed in this way (`StoreInfo.sealed`); asks for nothing that it doesn't want."""
        if self.passphrase_file is None and self.key_file is None:
            if sealed == "none":
                return None
            if sealed == "key":
                raise click.ClickException("the store is sealed with a key: name its file with --key-file")
        return self.key_or_passphrase()


def _passphrase_in(path: Path) -> str:
    try:
        text = content_of(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"the passphrase in {path} can't be read: {error}") from None
    return text.removesuffix("\n").removesuffix("\r")


def content_of(path: Path) -> bytes:
    """All that is in a file with a key or a passphrase.

    Raises:
        click.ClickException: It is too large for either.
        OSError: It can't be read.
    """
    with path.open("rb") as file:
        return read(file, path, most=MOST_BYTES)


def _key_in(path: Path) -> bytes:
    try:
        key = content_of(path)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from error
    if len(key) != KEY_BYTES:
        raise click.ClickException(f"{path} holds no key: {KEY_BYTES} bytes are wanted, it has {len(key)}")
    return key


def store_secret_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options that say what opens the store: ``passphrase_file`` and ``key_file``, for `store_secret`."""
    passphrase = click.option("--passphrase-file", type=FILE, help="File with the store's passphrase.")
    key = click.option("--key-file", type=FILE, help=f"File with the store's key, {KEY_BYTES} random bytes.")
    return passphrase(key(command))


def store_secret(passphrase_file: Path | None, key_file: Path | None) -> Secret:
    """What opens the store."""
    return Secret(
        what="Passphrase of the store",
        variable="OLMSTATE_PASSPHRASE",
        option="--passphrase-file",
        passphrase_file=passphrase_file,
        key_file=key_file,
    )


def check_store_secret(store: Path, secret: bytes | str | None) -> None:
    """Make sure that ``secret`` opens ``store``, before anything else is asked for.

    Raises:
        OlmStateError: It doesn't.
    """

    async def look() -> None:
        opened = await open_store(store, key=secret)
        await opened.aclose()

    run(look)
