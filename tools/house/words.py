"""One word for one thing: names that stand for one type at most, and words that are not used any more.

    python3 tools/house/words.py           prints what breaks the rule, and fails if anything does
    python3 tools/house/words.py --test    shows that it finds it

The words in use are in docs/architecture.md, "Glossary". Tests, strings and comments may say anything.
"""

import re
import sys

import sources

# Names that several types would like to have. One has it, or none; the others have exact names.
ONCE = "Advert Heard Identity Layout Ledger Outcome Place Verdict".split()
# Names that say too little for any type.
NEVER = "Letter Look Note Report Settled Told Wish".split()
# Words that names used to be made of, and what is said instead.
RETIRED = {
    "comeback": "reconnect",
    "fate": "outcome",
    "flying": "in flight",
    "hall": "acceptor",
    "letter": "envelope",
    "lobby": "in-memory listener",
    "mend": "recover",
    "owed": "outstanding",
    "stranger": "unauthenticated",
    "strangers": "unauthenticated",
    "wish": "receipt request",
    "wishes": "receipt requests",
}

_TYPE = re.compile(r"^ *(?:pub(?:\([^)]*\))? )?(?:struct|enum|trait|type|union) (\w+)", re.MULTILINE)


def types(code):
    """The names of the types that a file defines."""
    return _TYPE.findall(code)


def retired(code):
    """The names in a file that have a retired word in them, with the word."""
    for name in sorted(set(re.findall(r"[A-Za-z_]\w*", code))):
        for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+", name):
            if word.lower() in RETIRED:
                yield name, word.lower()


def broken(files):
    """What breaks the rule, a line each, in files that are given by name with their code."""
    homes = {}
    for name, code in files.items():
        for kind in types(code):
            homes.setdefault(kind, []).append(name)
        for found, word in retired(code):
            yield f"{name}: `{found}` has the word {word}; it is called {RETIRED[word]}"
    for kind in NEVER:
        yield from (f"{home}: no type is called {kind}: say what it is of" for home in homes.get(kind, []))
    for kind in ONCE:
        if len(homes.get(kind, [])) > 1:
            yield f"{', '.join(homes[kind])}: only one type can be called {kind}"


def test():
    """It finds each kind of slip, and nothing where there is none."""
    good = {"a.rs": "pub struct Place;\nstruct PlaceTable;\n", "b.rs": "pub(crate) enum Placement {}\nfn fateful() {}\n"}
    assert not list(broken(good)), list(broken(good))
    for slip in ("pub struct Place;", "    type Place = u8;", "enum Report {}", "fn f(fate: u8) {}", "struct LobbyDoor;", "const MEND: u8 = 1;"):
        assert len(list(broken({**good, "c.rs": slip}))) == 1, slip


def main():
    if sys.argv[1:] == ["--test"]:
        return test()
    if sys.argv[1:]:
        sys.exit(__doc__)
    files = {}
    for folder in sources.crates().values():
        for path in sorted((folder / "src").rglob("*.rs")):
            if not sources.is_test(path.relative_to(folder)):
                files[str(path.relative_to(sources.ROOT))] = sources.code(sources.without_tests(path.read_text()))
    slips = list(broken(files))
    for slip in slips:
        print(slip)
    if slips:
        sys.exit(1)


if __name__ == "__main__":
    main()
