"""The command line: `detassign COMMAND`. Each command is a module of this folder, loaded when it is used."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..data.report import DataWarning
from ..engine.terminal import take_all_letters
from ..evidence.words import printable
from .errors import sentence

COMMANDS = {
    "train": "Train a detector under an assigner.",
    "test": "Measure a trained detector, and report what goes wrong.",
    "predict": "Draw and write down detections of images.",
    "export": "Write a trained detector to an ONNX, TorchScript or pt2 file.",
    "convert": "Take over a checkpoint of the papers' code or of mmdet.",
    "bench": "Compare assigners under equal conditions.",
    "inspect": "Show which point or query learns which object, and how strongly.",
    "advise": "Say what a data set asks for, and which assigners to try.",
    "check": "Hold an assigner of your own to the laws that all keep.",
    "list": "List assigners, detectors, data sets and what goes with what.",
    "data": "Make or check a data set.",
    "config": "Print a resolved config.",
    "doctor": "Show versions, compiled ops and devices.",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake is one sentence on standard error and exit status 1 or 2."""
    try:
        import click
    except ImportError:
        sys.exit("detassign: the command line needs more packages; install them with: pip install 'detassign[full]'")
    take_all_letters()
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it once: large tensors on a CPU get huge pages
    try:
        with _warnings_as_sentences():
            status = _group()(args=arguments, prog_name="detassign", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(_say("interrupted; what was finished is kept", 130))
    except KeyboardInterrupt:
        sys.exit(_say("interrupted; what was finished is kept", 130))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:  # whoever read the output has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        said = sentence(error)
        if said is None or os.environ.get("DETASSIGN_TRACEBACK"):
            raise
        sys.exit(_say(said, 1))
    sys.exit(status if isinstance(status, int) else 0)


@contextmanager
def _warnings_as_sentences() -> Iterator[None]:
    """Warnings and notes without the line of code that gave them; one about data is said once, whatever filters say."""
    usual, show = warnings.formatwarning, warnings.showwarning
    data: set[str] = set()

    def show_once(message: Warning | str, category: type[Warning], *place: Any, **line: Any) -> None:
        if not issubclass(category, DataWarning):
            show(message, category, *place, **line)
        elif str(message) not in data:
            data.add(str(message))
            print(_said(message, category), end="", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=DataWarning)
        warnings.formatwarning, warnings.showwarning = _said, show_once
        try:
            yield
        finally:
            warnings.formatwarning = usual


def _said(message: Warning | str, category: type[Warning], *place: object, **line: object) -> str:
    return f"detassign: {getattr(category, 'word', 'warning')}: {printable(str(message))}\n"


def _group():
    """The click group; commands are imported when asked for, so `--help` is quick."""
    import click
    from click.shell_completion import CompletionItem

    class LazyGroup(click.Group):
        def list_commands(self, context: click.Context) -> list[str]:
            return [*COMMANDS]  # `list` is a command's module here

        def get_command(self, context: click.Context, name: str) -> click.Command | None:
            if name not in COMMANDS:
                return None
            return importlib.import_module(f".{name}", __package__).command

        def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
            fitting = [
                CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)
            ]
            return fitting + click.Command.shell_complete(self, context, incomplete)  # of the options

        def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
            with formatter.section("Commands"):
                formatter.write_dl([*COMMANDS.items()])

        def resolve_command(self, context: click.Context, arguments: list[str]):
            if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
                from ..assigners.registry import unknown_name  # needs torch, which a command that is there may not

                context.fail(unknown_name("command", arguments[0], COMMANDS))
            return super().resolve_command(context, arguments)

    @click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
    @click.version_option(package_name="detassign")
    def detassign() -> None:
        """Label assignment for object detectors: any matching with any weighting, on any head.

        \b
        detassign train --detector fcos_tiny --assigner dw --epochs 2
        detassign bench assigners --detector fcos_tiny --assigners fcos,atss,dw
        """

    return detassign


def _say(sentence: str, status: int) -> int:
    print(f"detassign: {printable(sentence)}", file=sys.stderr)
    return status
