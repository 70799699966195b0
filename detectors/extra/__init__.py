"""What training adds to a query detector's queries, and inference drops: groups, branches, further ways through the decoder."""

from .branch import Branch
from .collaborative import Collaborative
from .groups import Groups
from .mixed import Mixed
from .path import Path
from .scene import EXTRAS, Extra, Host, Scene

__all__ = ["EXTRAS", "Branch", "Collaborative", "Extra", "Groups", "Host", "Mixed", "Path", "Scene"]
