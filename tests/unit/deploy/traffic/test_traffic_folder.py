import errno
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime
from pathlib import Path

import answer_records
import pytest
from answer_records import answer_record

from ftsdk import Dataset, DatasetError
from ftsdk.deploy.traffic import TrafficFolder


def record(name, **changes):
    return answer_record(name, **{"input_tokens": 10, "accepted": True, "accepted_by": "validator", **changes})


def asked(text):
    return [{"role": "user", "content": text}]


def test_accepted_answers_become_rows_with_their_provenance(tmp_path):
    kept = TrafficFolder(tmp_path / "t")
    kept.answered(record("a"), messages=asked("Where is it?"), answer="shipping")
    kept.answered(record("b", accepted=False), messages=asked("Refund?"), answer="shipping")
    kept.answered(record("c", accepted=None, accepted_by=None), messages=asked("Hm"), answer="other")
    kept.answered(record("d", outcome="failed"), messages=asked("Lost"), answer=None)
    rows = Dataset.from_traffic(tmp_path / "t")
    assert rows.format == "chat"
    assert [row["messages"] for row in rows] == [[*asked("Where is it?"), {"role": "assistant", "content": "shipping"}]]
    assert rows.column("traffic_id") == ["a"]
    assert rows.column("traffic_version") == ["v3"]
    assert rows.lineage[0]["left_out"] == {"rejected": 1, "nobody judged it": 1}
    assert len(Dataset.from_traffic(tmp_path / "t", only="all")) == 3
    assert len(Dataset.from_traffic(tmp_path / "t", only="rejected")) == 1


def test_a_correction_is_the_answer_and_the_last_verdict_counts(tmp_path):
    kept = TrafficFolder(tmp_path)
    kept.answered(record("a"), messages=asked("x"), answer="wrong")
    kept.answered(record("b"), messages=asked("y"), answer="fine")
    kept.feedback("a", accepted=False, corrected="right")
    kept.feedback("b", accepted=True)
    kept.feedback("b", accepted=False)
    rows = Dataset.from_traffic(tmp_path)
    assert [row["messages"][-1]["content"] for row in rows] == ["right"]
    assert rows.column("traffic_corrected") == [True]
    assert rows.column("traffic_answer") == ["wrong"]
    assert rows.column("traffic_accepted_by") == ["feedback"]


def test_nothing_personal_reaches_the_disk(tmp_path):
    kept = TrafficFolder(tmp_path)
    kept.answered(record("a"), messages=asked("I'm ann@example.com, call 555-123-4567"), answer="Hello ann@example.com")
    kept.feedback("a", accepted=False, corrected="Write to bob@example.org")
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"example.com" not in content
    assert b"example.org" not in content
    assert b"555-123" not in content
    row = next(iter(Dataset.from_traffic(tmp_path, only="all")))
    assert "[EMAIL_1]" in row["messages"][0]["content"]
    assert kept.scrubbed["email"] == 3


def test_files_are_private_and_calls_of_tools_are_not_kept(tmp_path):
    kept = TrafficFolder(tmp_path / "new")
    kept.answered(record("a"), messages=asked("x"), answer="y")
    kept.answered(record("b"), messages=[{"role": "assistant", "content": None, "tool_calls": [{}]}], answer="y")
    assert kept.kept == 1
    (path,) = (tmp_path / "new").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_oldest_files_go_when_the_folder_is_full(tmp_path):
    kept = TrafficFolder(tmp_path, max_mb=0.02, shard_mb=0.005)
    for n in range(200):
        kept.answered(record(f"r{n}"), messages=asked("a question of some length " * 4), answer=f"answer {n}")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 20_000
    rows = Dataset.from_traffic(tmp_path)
    assert rows.column("traffic_id")[-1] == "r199"
    assert 0 < len(rows) < 200


def test_a_file_in_use_by_another_router_stays(tmp_path):
    other = TrafficFolder(tmp_path)
    other.answered(record("theirs"), messages=asked("x"), answer="y")
    kept = TrafficFolder(tmp_path, max_mb=0.003, shard_mb=0.001)
    for n in range(50):
        kept.answered(record(f"r{n}"), messages=asked("some words " * 20), answer="y")
    assert "theirs" in Dataset.from_traffic(tmp_path).column("traffic_id")


def test_a_full_disk_costs_the_answer_and_nothing_else(tmp_path, monkeypatch, caplog):
    kept = TrafficFolder(tmp_path)
    kept.answered(record("a"), messages=asked("x"), answer="before")
    real, calls = os.write, []

    def write(descriptor, content):
        calls.append(len(content))
        if len(calls) % 2:
            return real(descriptor, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "write", write)
        kept.answered(record("b"), messages=asked("x"), answer="lost")
        kept.answered(record("c"), messages=asked("x"), answer="lost too")
    kept.answered(record("d"), messages=asked("x"), answer="after")
    assert kept.failures == 2
    assert len([entry for entry in caplog.records if "can't be kept" in entry.message]) == 1
    assert Dataset.from_traffic(tmp_path).column("traffic_id") == ["a", "d"]


def test_a_folder_that_cannot_be_made_is_counted_not_raised(tmp_path):
    (tmp_path / "file").write_text("")
    kept = TrafficFolder(tmp_path / "file" / "traffic")
    kept.answered(record("a"), messages=asked("x"), answer="y")
    assert (kept.kept, kept.failures) == (0, 1)


def test_a_line_that_was_cut_off_is_never_a_row(tmp_path):
    kept = TrafficFolder(tmp_path)
    kept.answered(record("a"), messages=asked("x"), answer="y")
    kept.answered(record("b"), messages=asked("x"), answer="y")
    kept.close()
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    starts = content.rstrip(b"\n").rfind(b"\n") + 1
    for cut in range(starts, len(content)):
        path.write_bytes(content[:cut])
        assert Dataset.from_traffic(tmp_path).column("traffic_id") == ["a"]


@pytest.mark.parametrize("times", [2, pytest.param(30, marks=pytest.mark.slow)])
def test_kills_leave_only_whole_rows(tmp_path, times):
    code = textwrap.dedent("""
        import os, sys
        sys.path[:0] = sys.argv[2].split(os.pathsep)
        from test_traffic_folder import TrafficFolder, asked, record
        kept = TrafficFolder(sys.argv[1])
        print("ready", flush=True)
        for n in range(10**9):
            kept.answered(record(f"{sys.argv[3]}-{n}"), messages=asked("word " * 2000), answer=f"answer {n}")
    """)
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(answer_records.__file__).parent)])
    for k in range(times):
        child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), path, str(k)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        while not list(tmp_path.glob("traffic-*.jsonl")) or len(list(tmp_path.iterdir())) <= k:
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    rows = Dataset.from_traffic(tmp_path, only="all") if _has_answer(tmp_path) else []
    for row in rows:
        number = row["traffic_id"].rpartition("-")[2] if "traffic_id" in row else None
        assert row["messages"][0]["content"] == "word " * 2000
        assert number is None or row["messages"][1]["content"] == f"answer {number}"
    assert len(list(tmp_path.glob("*.jsonl"))) == times


def _has_answer(folder):
    return any(b'"kind":"answer"' in path.read_bytes() for path in folder.iterdir())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "no such folder"),
        (lambda folder: folder.mkdir(), "holds no kept traffic"),
        (lambda folder: (folder.mkdir(), (folder / "traffic-1.jsonl").write_text('{"format": 9}\n')), "format 9"),
        (lambda folder: (folder.mkdir(), (folder / "traffic-1.jsonl").write_text("[]\n{}\nnull\n")), "no answers"),
    ],
)
def test_what_is_no_traffic_is_refused_in_words(tmp_path, make, words):
    make(tmp_path / "t")
    with pytest.raises(DatasetError, match=words):
        Dataset.from_traffic(tmp_path / "t")


def test_rows_go_into_a_job_file_by_content_and_with_their_lineage(tmp_path):
    kept = TrafficFolder(tmp_path / "t")
    for n in range(3):
        kept.answered(record(f"a{n}"), messages=asked(f"question {n}"), answer="yes")
    rows = Dataset.from_traffic(tmp_path / "t")
    recipe = rows.to_dict()
    assert recipe["stored"] == rows.fingerprint
    assert recipe["lineage"][0]["traffic"] == "t"
    assert str(tmp_path) not in json.dumps(recipe)


@pytest.mark.parametrize("odd", [{"at": "x"}, {"at": [1]}, {"messages": [{"role": [], "content": "x"}]}, {"at": None}])
def test_a_line_of_another_form_is_left_out(odd, tmp_path):
    whole = {"kind": "answer", "id": "1", "at": 9.0, "messages": [{"role": "user", "content": "a"}], "answer": "b"}
    lines = ({"kind": "shard", "format": 1}, whole, {**whole, "id": "2", **odd})
    (tmp_path / "traffic-1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = Dataset.from_traffic(tmp_path, only="all", since=datetime.fromtimestamp(1, UTC))
    assert found.column("traffic_id") == ["1"]
