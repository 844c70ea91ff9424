"""Which of the library's errors each of SQLite's becomes."""

from __future__ import annotations

import sqlite3

import pytest

from olmstate.messages import StoreBusy, StoreCorrupt, StoreError, StoreFull, StoreUnavailable
from olmstate.storage.sqlite.sqlite_errors import look_again, result_code, store_error, translated

TABLE: dict[str, type[StoreError]] = {
    "SQLITE_FULL": StoreFull,
    "SQLITE_IOERR_SHMSIZE": StoreFull,
    "SQLITE_CORRUPT": StoreCorrupt,
    "SQLITE_CORRUPT_VTAB": StoreCorrupt,
    "SQLITE_CORRUPT_INDEX": StoreCorrupt,
    "SQLITE_NOTADB": StoreCorrupt,
    "SQLITE_ERROR": StoreCorrupt,
    "SQLITE_CONSTRAINT": StoreCorrupt,
    "SQLITE_CONSTRAINT_NOTNULL": StoreCorrupt,
    "SQLITE_CONSTRAINT_DATATYPE": StoreCorrupt,
    "SQLITE_MISMATCH": StoreCorrupt,
    "SQLITE_BUSY": StoreBusy,
    "SQLITE_BUSY_RECOVERY": StoreBusy,
    "SQLITE_BUSY_SNAPSHOT": StoreBusy,
    "SQLITE_LOCKED": StoreBusy,
    "SQLITE_PROTOCOL": StoreBusy,
    "SQLITE_IOERR": StoreUnavailable,
    "SQLITE_IOERR_READ": StoreUnavailable,
    "SQLITE_IOERR_WRITE": StoreUnavailable,
    "SQLITE_IOERR_FSYNC": StoreUnavailable,
    "SQLITE_IOERR_CORRUPTFS": StoreUnavailable,
    "SQLITE_READONLY": StoreUnavailable,
    "SQLITE_READONLY_DBMOVED": StoreUnavailable,
    "SQLITE_CANTOPEN": StoreUnavailable,
    "SQLITE_CANTOPEN_ISDIR": StoreUnavailable,
    "SQLITE_PERM": StoreUnavailable,
    "SQLITE_AUTH": StoreUnavailable,
    "SQLITE_NOLFS": StoreUnavailable,
    "SQLITE_MISUSE": StoreUnavailable,
}

CODES = {
    "SQLITE_CORRUPT_INDEX": 779,  # newer than some sqlite3 modules know
    "SQLITE_CONSTRAINT_DATATYPE": 3091,
    "SQLITE_IOERR_CORRUPTFS": 8458,
}


def sqlite_error(name: str) -> sqlite3.Error:
    """As the sqlite3 module raises it."""
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorname = name
    error.sqlite_errorcode = CODES[name] if name in CODES else getattr(sqlite3, name)
    return error


@pytest.mark.parametrize(("name", "expected"), TABLE.items())
def test_each_result_code_becomes_its_error(name: str, expected: type[StoreError]) -> None:
    error = sqlite_error(name)

    assert expected is type(store_error(error))
    with pytest.raises(expected) as raised, translated():
        raise error
    assert error is raised.value.__cause__


REFUSED = OSError(5, "Input/output error", "the database")


@pytest.mark.parametrize("name", [name for name, error in TABLE.items() if error is StoreCorrupt])
def test_what_the_system_can_not_read_is_not_called_damaged(name: str) -> None:
    with pytest.raises(StoreUnavailable, match="the database: Input/output error"), translated(lambda: REFUSED):
        raise sqlite_error(name)


@pytest.mark.parametrize("name", [name for name, error in TABLE.items() if error is not StoreCorrupt])
def test_other_errors_are_what_they_are_whatever_the_system_can_read(name: str) -> None:
    assert TABLE[name] is type(store_error(sqlite_error(name), lambda: REFUSED))


@pytest.mark.parametrize("first", [StoreCorrupt(reason="?"), StoreUnavailable(reason="?"), REFUSED])
def test_what_may_be_an_error_of_reading_is_looked_at_again(first: Exception) -> None:
    outcomes = iter([first])

    def act() -> str:
        for error in outcomes:
            raise error
        return "read"

    assert "read" == look_again(act)


def test_what_fails_twice_or_for_another_reason_is_an_error() -> None:
    tries: list[str] = []

    def act(error: Exception) -> None:
        tries.append(str(error))
        raise error

    with pytest.raises(StoreCorrupt):
        look_again(lambda: act(StoreCorrupt(reason="?")))
    assert 2 == len(tries)
    with pytest.raises(StoreFull):
        look_again(lambda: act(StoreFull()))
    assert 3 == len(tries)


@pytest.mark.parametrize("name", [name for name, error in TABLE.items() if error in (StoreCorrupt, StoreUnavailable)])
def test_the_reason_names_the_result_code(name: str) -> None:
    assert name in str(store_error(sqlite_error(name)))


def test_an_error_of_the_module_s_own_makes_the_store_unavailable() -> None:
    connection = sqlite3.connect(":memory:")
    connection.close()

    with pytest.raises(StoreUnavailable, match="closed database") as raised, translated():
        connection.execute("SELECT 1")

    assert isinstance(raised.value.__cause__, sqlite3.ProgrammingError)
    assert 0 == result_code(raised.value.__cause__)


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), translated():
        raise ZeroDivisionError
    with translated():
        pass
