"""Every figure of README.md and docs/benchmarks.md, and a table of docs/simulator.md: measured by a command, kept in docs/figures, put into the pages.

    python3 tools/figures all              measures everything anew: half an hour on two quiet cores
    python3 tools/figures demo office      these parts alone; the others stay as they were measured
    python3 tools/figures --quick all      few seeds and one run of each, to try it out
    python3 tools/figures pages            the pages from the files
    python3 tools/figures check            whether the pages are what the files say
    python3 tools/figures again            the same, and whether what does not depend on the machine still comes out

Parts: demo, session, office, reports, compare, frame, size, memory, local, crowd. `recorded` is no part: what was measured where this command cannot go.
"""

import sys

import measure
import pages


def main(arguments):
    quick = "--quick" in arguments
    words = [word for word in arguments if word != "--quick"]
    if words in (["check"], ["again"]):
        wrong = pages.differences()
        if words == ["again"]:
            wrong += measure.differences()
        for line in wrong:
            print(line, file=sys.stderr)
        if wrong:
            sys.exit("checking the figures: they are not what the files and programs say; `python3 tools/figures --help` lists what writes them")
        return
    if not words or not set(words) <= {"all", "pages", *measure.PARTS}:
        print(__doc__)
        sys.exit(0 if words in ([], ["--help"]) else 2)
    for part in measure.PARTS if "all" in words else words:
        if part != "pages":
            measure.write(part, quick)
    pages.write()


main(sys.argv[1:])
