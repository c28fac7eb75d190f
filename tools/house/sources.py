"""The Rust sources of the project: which crates there are, and what of a file is code."""

import json
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# A path in an attribute, which is code though it stands in a string; a comment; a string, a raw one first; a character, which may
# be a quote.
_NOT_CODE = re.compile(
    r"""(?<==\ )"(?P<path>[\w:<>]*::[\w:<>]*)"
      | //[^\n]*
      | /\*.*?\*/
      | r(?P<hashes>\#*)".*?"(?P=hashes)
      | "(?:\\.|[^"\\])*"
      | '(?:\\.[^']*|[^'\\])'
    """,
    re.VERBOSE | re.DOTALL,
)


def crates():
    """The folder of every crate of the workspace, by the crate's name."""
    command = ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    return {package["name"]: Path(package["manifest_path"]).parent for package in metadata["packages"]}


def is_test(path):
    """Whether a file below a crate's `src` is there for tests only."""
    return "tests" in path.parts or path.stem.endswith("tests")


def without_tests(text):
    """A file up to its tests, which stand at its end."""
    return re.split(r"^#\[cfg\(test\)\]\nmod \w+ \{", text, maxsplit=1, flags=re.MULTILINE)[0]


def code(text):
    """A file's code: without comments, and with empty strings and characters."""
    return _NOT_CODE.sub(lambda found: found["path"] or ("" if found[0].startswith("/") else '""'), text)
