"""The compiled ops: one file each, with its pure-torch reference, shape rule and gradient."""

from ._library import ExtensionStatus, extension_status
from .ms_deform_attn import ms_deform_attn
from .sample_maps import sample_maps, sample_maps_reference

__all__ = ["ExtensionStatus", "extension_status", "ms_deform_attn", "sample_maps", "sample_maps_reference"]
