"""Pairs of files of one crate that import each other.

    python3 tools/house/circles.py           prints each pair, and fails if there is one
    python3 tools/house/circles.py --test    shows that it finds one

Two such files are one file in two places: neither can be read, tested or moved without the other. A module and one that it contains
are no pair: a `mod.rs` puts its parts together, and they use the types that it has for all of them. Not seen are pairs by way of a
name that a third file re-exports, and rings of three or more.
"""

import re
import sys
import tempfile
from pathlib import Path

import sources


def module_files(folder):
    """The files below a crate's `src`, by their module paths; `lib.rs` and `main.rs` are the empty path."""
    files = {}
    for path in sorted(folder.rglob("*.rs")):
        below = path.relative_to(folder)
        if sources.is_test(below) or below.parts[0] == "bin":
            continue
        names = list(below.with_suffix("").parts)
        if names[-1] in ("lib", "main", "mod"):
            names.pop()
        files[tuple(names)] = path
    return files


def use_paths(tree, before=()):
    """The paths of one `use`, as lists of names: `a::{b, c::d}` is `a::b` and `a::c::d`."""
    items, depth, start = [], 0, 0
    for at, letter in enumerate(tree):
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            items.append(tree[start:at])
            start = at + 1
    items.append(tree[start:])
    for item in filter(None, map(str.strip, items)):
        head, brace, inner = item.partition("{")
        names = [name.strip() for name in head.split(" as ")[0].split("::") if name.strip()]
        if brace:
            yield from use_paths(inner.rpartition("}")[0], (*before, *names))
        else:
            yield [*before, *names]


def paths(text):
    """Every path that a file names."""
    code = sources.code(sources.without_tests(text))
    for tree in re.findall(r"\buse\s+([^;]+);", code):
        yield from use_paths(tree)
    for path in re.findall(r"\b[a-z_]\w*(?:::\w+)+", code):
        yield path.split("::")


def module_of(path, here, files):
    """The module of the crate that a path leads to from the module `here`; None if it leads elsewhere."""
    base, names = list(here), list(path)
    if names[0] == "crate":
        base, names = [], names[1:]
    elif names[0] == "self":
        names = names[1:]
    elif names[0] == "super":
        while names and names[0] == "super":
            base, names = base[:-1], names[1:]
    elif (*here, names[0]) not in files:
        return None
    whole = (*base, *names)
    # What follows the longest known path is an item of that module.
    return next((whole[:length] for length in range(len(whole), 0, -1) if whole[:length] in files), None)


def circles(folder):
    """The pairs of files below a crate's `src` that import each other."""
    files = module_files(folder)
    uses = {
        module: {module_of(path, module, files) for path in paths(file.read_text())} - {module, None}
        for module, file in files.items()
    }
    for one, used in uses.items():
        for other in used:
            contains = one == other[: len(one)]
            if one < other and one in uses[other] and not contains:
                yield files[one], files[other]


def test():
    """One circle among imports of every form, and none once it is broken."""
    crate = {
        "lib.rs": "mod a;\nmod b;\nmod parts;\n",
        "a.rs": "use crate::{parts::Part, b::B as Other};\npub struct A;\n",
        "b.rs": "// a::A stands in a comment, \"crate::a::A\" in a string\npub struct B;\n",
        "parts/mod.rs": "mod part;\npub use part::Part;\npub struct Shared;\n",
        "parts/part.rs": "use super::Shared;\npub struct Part(Shared);\n",
    }

    def found(**changed):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in {**crate, **{f"{stem}.rs": text for stem, text in changed.items()}}.items():
                path = Path(folder, name)
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
            return [(one.name, other.name) for one, other in circles(Path(folder))]

    assert found() == [], found()
    for text in ("use crate::a::A;\n", "use super::a::{A};\n", "fn f(_: crate::a::A) {}\n", '#[a(with = "crate::a::A")]\n'):
        assert found(b=text) == [("a.rs", "b.rs")], (text, found(b=text))
    assert found(b="#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n") == [], "tests may use anything"


def main():
    if sys.argv[1:] == ["--test"]:
        return test()
    if sys.argv[1:]:
        sys.exit(__doc__)
    pairs = [pair for folder in sources.crates().values() for pair in circles(folder / "src")]
    for pair in pairs:
        print(*(path.relative_to(sources.ROOT) for path in pair))
    if pairs:
        sys.exit(1)


if __name__ == "__main__":
    main()
