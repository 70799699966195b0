"""The Python of README and docs as scripts, a file for each document, for a type checker to read as a user's.

python tests/support/documented.py FOLDER
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def python_of(document: Path) -> str:
    """The Python blocks of a document, in their order."""
    return "\n".join(re.findall(r"```python\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL))


def main(folder: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    for document in DOCUMENTS:
        if script := python_of(document):
            Path(folder, f"{document.stem}.py").write_text(script, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
