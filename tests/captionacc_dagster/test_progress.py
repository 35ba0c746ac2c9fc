"""What a person, or a log file, sees while work goes on."""

from __future__ import annotations

import io

from captionacc_dagster.progress import PlainProgress, TerminalProgress, choose_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_log_file_gets_few_plain_lines_with_stage_share_and_time_left() -> None:
    out, clock = io.StringIO(), Clock()
    listener = PlainProgress(out, interval_s=5, clock=clock)
    listener.stage("film.mp4", "layout")
    for second in range(11):
        clock.now = 100.0 + second
        listener.progress("sample", second, 20)
    listener.note("Done.")
    assert out.getvalue().splitlines() == [
        "film.mp4: layout",
        "film.mp4: layout, sample 25%, 15 s left",
        "film.mp4: layout, sample 50%, 10 s left",
        "Done.",
    ]


def test_a_terminal_gets_a_bar_that_names_the_stage() -> None:
    out = Terminal()
    with choose_progress(out) as listener:
        assert isinstance(listener, TerminalProgress)
        listener.stage("film.mp4", "layout")
        listener.progress("sample", 5, 10)
        listener.note("A note [bold]as it is[/bold].")
    assert "film.mp4: layout, sample" in out.getvalue()
    assert "50%" in out.getvalue()
    assert "A note [bold]as it is[/bold]." in out.getvalue()


def test_a_pipe_gets_no_control_characters_whatever_the_file_is_called() -> None:
    out = io.StringIO()
    with choose_progress(out) as listener:
        listener.stage("\x1b[2Jevil\nname\udce9.mp4", "layout")
        listener.progress("x", 0, 0)
        listener.note("\x07")
    assert all(line.isprintable() for line in out.getvalue().splitlines())
    assert len(out.getvalue().splitlines()) == 2
