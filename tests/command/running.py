"""The command, run in this process."""

from click.testing import CliRunner

from fastbp.command.app import command


def run(*arguments, code=0, stdin=None):
    """Run it; return its result, whose exit code is as expected, and whose errors are one line."""
    result = CliRunner().invoke(command, [str(a) for a in arguments], input=stdin)
    assert result.exit_code == code, result.output + str(result.exception)
    if code == 1:
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1
        assert "Traceback" not in result.stderr
    return result


def cells(result, name):
    """Return what stands beside a name in the report: a figure and a remark."""
    line = next(x for x in result.stdout.splitlines() if x.startswith(f"{name} "))
    figure, _, remark = line.removeprefix(name).strip().partition("  ")
    return figure, remark
