from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow
import pytest

from ftsdk.data import Dataset, Store, read_stored_rows
from ftsdk.errors import DatasetError

CHAT = [{"prompt": f"question {i} \u2028 é", "completion": "answer"} for i in range(50)]
PREFERENCE = [{"prompt": "a", "chosen": "b", "rejected": "c"}]


@pytest.mark.parametrize("rows", [CHAT, PREFERENCE], ids=["chat", "preference"])
def test_what_is_put_comes_back_the_same(rows: list[dict[str, str]], ftsdk_home: Path) -> None:
    dataset = Dataset.from_rows(rows, name="mine")
    path = Store().put(dataset)
    assert path == ftsdk_home / "data" / f"{dataset.fingerprint}.arrow"
    assert Store().get(dataset.fingerprint) == path
    again = Store().load(dataset.ref())
    assert list(again) == list(dataset)
    assert again.ref() == dataset.ref()


def test_putting_twice_writes_once_unless_the_file_was_cut_short(tmp_path: Path) -> None:
    store, dataset = Store(tmp_path), Dataset.from_rows(CHAT)
    path = store.put(dataset)
    first = path.stat().st_mtime_ns, path.stat().st_ino
    store.put(dataset)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == first
    path.write_bytes(path.read_bytes()[:-10])
    store.put(dataset)
    assert store.get(dataset.fingerprint) == path
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_altered_rows_are_never_given_out(tmp_path: Path) -> None:
    store, dataset = Store(tmp_path), Dataset.from_rows(CHAT)
    path = store.put(dataset)
    path.write_bytes(path.read_bytes().replace(b"answer", b"ANSWER", 1))
    with pytest.raises(DatasetError, match=r"the stored rows were altered.*Delete the file, and store the rows again"):
        store.load(dataset.ref())


def test_absent_rows_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no rows with the fingerprint.*Store\(\).put"):
        Store(tmp_path).get("0" * 64)


def test_a_table_cannot_be_stored(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not yet something to learn from"):
        Store(tmp_path).put(Dataset.from_rows([{"a": 1}]))
    assert list(tmp_path.iterdir()) == []


def test_processes_that_put_the_same_rows_leave_one_whole_file(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ftsdk.data import Dataset, Store, read_stored_rows\n"
        "rows = [{'prompt': f'question {i}', 'completion': 'answer'} for i in range(500)]\n"
        "for _ in range(10):\n"
        "    d = Dataset.from_rows(rows); s = Store(Path(sys.argv[1]))\n"
        "    s._path(d.fingerprint).unlink(missing_ok=True)\n"
        "    s.put(d)\n"
        "print(d.fingerprint)\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    prints = {writer.communicate(timeout=300)[0].strip() for writer in writers}
    assert [writer.returncode for writer in writers] == [0, 0]
    assert len(prints) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [f"{prints.copy().pop()}.arrow"]
    assert Store(tmp_path).get(prints.pop()).is_file()


def _stored(path: Path, *lists: list[dict[str, str | None] | None] | None) -> None:
    message = pyarrow.struct({"role": pyarrow.string(), "content": pyarrow.large_string()})
    table = pyarrow.table({"messages": pyarrow.array(lists, pyarrow.list_(message))})
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize(
    "messages",
    [
        # As JSON without escapes, this one role would be two messages with the wanted fingerprint.
        [{"role": 'user"},{"content":"a","role":"assistant', "content": "q"}],
        [{"role": "user", "content": None}],
        [{"role": None, "content": "q"}],
        [{"role": "user", "content": "q"}, None, {"role": "assistant", "content": "a"}],
        None,
    ],
)
def test_crafted_rows_are_refused(messages: list[dict[str, str | None] | None] | None, tmp_path: Path) -> None:
    store, dataset = Store(tmp_path), Dataset.from_rows([{"prompt": "q", "completion": "a"}])
    _stored(store.put(dataset), messages)
    with pytest.raises(DatasetError, match="the stored rows were altered"):
        store.load(dataset.ref())


def test_any_altered_byte_is_refused_or_means_nothing(tmp_path: Path) -> None:
    store, dataset = Store(tmp_path), Dataset.from_rows([{"prompt": "é", "completion": "a"}])
    path = store.put(dataset)
    whole = path.read_bytes()
    refused = 0
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x81]) + whole[position + 1 :])
        try:
            assert list(store.load(dataset.ref())) == list(dataset)
        except DatasetError:
            refused += 1
    assert refused > len(whole) / 4


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_something_else_than_a_file_is_refused(kind: str, tmp_path: Path) -> None:
    store, dataset = Store(tmp_path), Dataset.from_rows(CHAT)
    path = tmp_path / f"{dataset.fingerprint}.arrow"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(DatasetError, match="the stored rows were altered"):
        store.load(dataset.ref())
    if kind == "folder":
        with pytest.raises(DatasetError, match="the rows can't be stored: Is a directory"):
            store.put(dataset)


def test_stored_rows_are_for_their_owner_only(tmp_path: Path) -> None:
    assert Store(tmp_path).put(Dataset.from_rows(CHAT)).stat().st_mode & 0o077 == 0


def test_a_copy_is_held_to_its_fingerprint(tmp_path: Path) -> None:
    store, dataset = Store(tmp_path), Dataset.from_rows(CHAT)
    path = store.put(dataset)
    assert read_stored_rows(path, dataset.fingerprint) == dataset.rows
    with pytest.raises(DatasetError, match="their hash is"):
        read_stored_rows(path, "0" * 64)


def test_a_folder_whose_name_is_not_utf8_can_be_used(tmp_path: Path) -> None:
    store, dataset = Store(tmp_path / os.fsdecode(b"\xff")), Dataset.from_rows(CHAT)
    store.put(dataset)
    assert list(store.load(dataset.ref())) == list(dataset)
