"""What training adds to a query detector's queries, and inference drops: groups, branches, further ways through the decoder."""

from .branch import Branch
from .groups import Groups
from .mixed import Mixed
from .path import Path
from .scene import EXTRAS, Extra, Host, Scene

__all__ = ["EXTRAS", "Branch", "Extra", "Groups", "Host", "Mixed", "Path", "Scene"]
