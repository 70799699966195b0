"""The compiled ops: one file each, with its reference, shape rule and gradient."""

from ._library import ExtensionStatus, MissingKernelWarning, extension_status
from ._portable import portable_ops
from .deform_conv2d import deform_conv2d, deform_conv2d_reference
from .dropout import dropout, dropout_reference
from .linear_assignment import LinearAssignment, linear_assignment, linear_assignment_reference
from .ms_deform_attn import ms_deform_attn, ms_deform_attn_reference
from .sample_maps import sample_maps, sample_maps_reference

__all__ = [
    "ExtensionStatus",
    "LinearAssignment",
    "MissingKernelWarning",
    "deform_conv2d",
    "deform_conv2d_reference",
    "dropout",
    "dropout_reference",
    "extension_status",
    "linear_assignment",
    "linear_assignment_reference",
    "ms_deform_attn",
    "ms_deform_attn_reference",
    "portable_ops",
    "sample_maps",
    "sample_maps_reference",
]
