"""Write NOTICE: what is part of SliceAug from elsewhere, and the licence of every package of the lock, by its own metadata.

`make notice` runs it, where the packages of the lock are installed. A test holds the file in step with the lock.
"""

import re
from importlib.metadata import PackageMetadata, distribution

from workflow_scripts.base.cli import run_program
from workflow_scripts.base.files import write_text
from workflow_scripts.base.provenance import ROOT

NOTICE, LOCK = ROOT / "NOTICE", ROOT / "envs" / "requirements.lock"
HEAD = """SliceAug
Copyright The SliceAug developers. Licensed under the Apache License, Version 2.0 (LICENSE).

Part of this repository, and of every report.html:
  NiiVue, BSD-2-Clause: workflow_scripts/reporting/report/vendor/

Not part of it, and installed beside it by `make install`: the packages of envs/requirements.lock. Their licences, as each
package states them in its metadata. "not stated" is what it says: look at the package before you pass it on. Packages under the
LGPL or MPL are used unchanged, as libraries.

"""


def stated(metadata: PackageMetadata) -> str:
    """The licence that a package states: as an SPDX expression, else by its classifiers, else in a short word of its own."""
    if expression := metadata.get("License-Expression"):
        return expression
    found = [line.split(" :: ")[-1] for line in metadata.get_all("Classifier", []) if line.startswith("License ::")]
    if named := [line for line in found if line not in ("OSI Approved", "DFSG approved")]:
        return " / ".join(named)
    word = (metadata.get("License") or "").strip()
    short = word and "\n" not in word and len(word) < 60 and word != "UNKNOWN"
    return word if short else next(iter(re.findall(r"\b(?:BSD|MIT|Apache)\b", word)), "not stated")


def notice() -> str:
    """The text of the file."""
    pins = [
        line.split("==") for line in LOCK.read_text(encoding="utf-8").splitlines() if "==" in line and line[0] != "#"
    ]
    rows = [(name, version.strip(), stated(distribution(name).metadata)) for name, version in pins]
    return HEAD + "".join(f"  {name} {version}: {licence}\n" for name, version, licence in rows)


def main() -> None:
    write_text(NOTICE, notice())


if __name__ == "__main__":
    run_program(main)
