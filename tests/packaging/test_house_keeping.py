"""What stands in the project's files for others to read: citation, changelog, commit hooks, forms for issues."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FORMS = ROOT / ".github" / "ISSUE_TEMPLATE"


def read(file):
    return yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))


def test_the_citation_has_what_its_form_asks_for_and_is_of_this_release():
    citation = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["title"] == "detassign"
    assert citation["version"] == version("detassign")
    assert citation["license"] == re.search(r'^license = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    assert all("name" in author or "family-names" in author for author in citation["authors"])


def test_the_commit_hooks_run_the_ruff_that_the_tests_run():
    pinned = re.search(r"^ruff==(\S+)$", (ROOT / "requirements/dev.txt").read_text(), re.M)[1]
    (hooks,) = read(".pre-commit-config.yaml")["repos"]
    assert hooks["rev"] == f"v{pinned}"
    assert [hook["id"] for hook in hooks["hooks"]] == ["ruff-check", "ruff-format"]


@pytest.mark.parametrize(("form", "asked"), [("bug.yml", {"doctor"}), ("assigner.yml", {"paper", "golden"})])
def test_forms_for_issues_ask_for_what_is_needed(form, asked):
    content = yaml.safe_load((FORMS / form).read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(content)
    fields = {field["id"]: field for field in content["body"]}
    assert len(fields) == len(content["body"]), "each field by its own name"
    assert all(field["type"] in ("input", "textarea") and field["attributes"]["label"] for field in fields.values())
    assert all(fields[name]["validations"]["required"] for name in asked)


def test_the_newest_changes_have_a_date():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    dates = re.findall(r"^### (\d{4}-\d\d-\d\d)(?: and before)?$", text, re.M)
    assert dates
    assert dates == sorted(dates)
    assert text.startswith(f"# Changelog\n\n## {version('detassign')} (unreleased)\n")
