import json

from trainer.journal import Journal, read_journal

LINE = {"loss": 1.5, "samples_per_second": 10.0, "loader_wait": 0.25, "mfu": None}


class Recorder:
    def __init__(self):
        self.points, self.closed = [], False

    def add_scalar(self, tag, scalar_value, global_step):
        self.points.append((tag, scalar_value, global_step))

    def close(self):
        self.closed = True


def test_lines_after_the_start_and_torn_ones_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        "".join(json.dumps({"step": step, **LINE}) + "\n" for step in (2, 4, 6))
        + '{"step": 8, "lo',
        encoding="utf-8",
    )
    assert [line["step"] for line in read_journal(path)] == [2, 4, 6]
    with Journal(path, 4, quiet=True) as journal:
        journal.write(6, LINE)
    assert [line["step"] for line in read_journal(path)] == [2, 4, 6]
    assert read_journal(tmp_path / "none.jsonl") == []


def test_numbers_go_to_tensorboard_and_to_the_terminal(tmp_path, capsys):
    recorder = Recorder()
    with Journal(tmp_path / "metrics.jsonl", 0, recorder) as journal:
        journal.write(3, LINE | {"mfu": 0.4, "samples": {"web": 7}})
    assert ("loss", 1.5, 3) in recorder.points
    assert ("samples/web", 7.0, 3) in recorder.points
    assert recorder.closed
    line = capsys.readouterr().err
    assert line == "step 3  loss 1.5000  10 samples/s  waiting 25%  MFU 40.0%\n"
