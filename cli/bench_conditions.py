"""What measurements are made under, as options say it: the size of images, and a device that is there."""

from __future__ import annotations

import click

PRECISIONS = ("float32", "bfloat16")  # that networks are measured in


def size_of(text: str) -> tuple[int, int]:
    """Height and width from HEIGHTxWIDTH.

    Raises:
        click.BadParameter: for anything else, and sides below 32 pixels.
    """
    parts = text.split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) >= 32 for part in parts):
        raise click.BadParameter(f"expected HEIGHTxWIDTH of at least 32 pixels each, got {text!r}", param_hint="--size")
    return int(parts[0]), int(parts[1])


def device_name(device: str) -> str:
    """The processor's name and threads, or that of the GPU."""
    import torch

    from ..engine.provenance import processor

    return processor() if device == "cpu" else torch.cuda.get_device_name(device)


def require(device: str) -> None:
    """Raise ValueError where a GPU is asked for that is not there, or has no kernels here."""
    import torch

    from ..ops import extension_status

    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda needs a GPU, and torch sees none")
    if device == "cuda" and not extension_status()["cuda"].loaded:
        raise ValueError(f"the CUDA kernels are not loaded: {extension_status()['cuda'].error}")


def tell_absent(absent: list[str], sentence: str) -> None:
    """Say what is left out and why, and keep it for the file."""
    absent.append(sentence)
    click.echo(sentence, err=True)
