"""The folder of synthetic cases as they are made: the cases, their table, and the table of refused draws."""

from collections import Counter
from pathlib import Path

import pandas as pd

from ..base.errors import UserError
from ..base.files import write_json, write_tsv
from ..cohort.nifti import write_case
from ..diffusion.synthesis import Case, Refusal
from ..study.generators import USE
from ..training.model_files import contract_digest
from .copy_gate import COPY_KIND
from .released import Released


class MadeCases:
    """What came of the cases that were asked for. Their rows are kept, no array of them.

    released : the generator
    asked : how many cases
    out : folder that each case is written into, in a folder of its own; None: nowhere
    """

    def __init__(self, released: Released, asked: int, out: Path | None = None):
        self.released, self.asked, self.out = released, asked, out
        self.rows: list[dict] = []
        self.refusals: list[Refusal] = []

    def add(self, made: Case | Refusal) -> int:
        """Take a draw of `Released.draws`. Returns how many cases it ends: 1, or 0 where another draw follows."""
        if isinstance(made, Refusal):
            self.refusals.append(made)
            return int(made.last)
        case_id, contract = self.released.case_id(made.number), self.released.generator.contract
        origins = self.released.origins(made)
        if self.out is not None:
            arrays = made.image, made.levels, made.affine
            write_case(self.out / case_id, case_id, *arrays, contract["modalities"], self.released.written, origins)
        row = {"case_id": case_id, "number": made.number, "attempts": made.attempts, **origins}
        row |= {f"requested_{name}": value for name, value in made.requested.items()}
        self.rows.append(row | {f"measured_{name}": value for name, value in made.measured.items()})
        return 1

    def write(self, table: Path, rejected: Path) -> None:
        """Write both tables. Where a case was given up, that of the refused draws alone, as <rejected>.failed.tsv:
        Snakemake deletes the declared outputs of a failed job; and raise as `check`."""
        failed = rejected.with_suffix(".failed.tsv")
        failed.unlink(missing_ok=True)
        write_tsv(failed if len(self.rows) < self.asked else rejected, self._refused())
        self.check(failed)
        write_tsv(table, self._made())

    def write_how(self, file: Path, model: Path) -> None:
        """Write by which model and settings they were made."""
        how = {"model": self.released.generator.contract["name"], "model_sha256": contract_digest(model)}
        how |= {"settings": self.released.settings.model_dump()}
        write_json(file, how | {"copies_refused_at_rate": self.released.false_positive_rate})

    def check(self, listed: Path | None = None) -> None:
        """Raise UserError if cases were given up: whoever asks for them needs all of them. `listed`: the table of draws."""
        given_up = [refusal.number for refusal in self.refusals if refusal.last]
        if not given_up:
            return
        max_redraws = self.released.settings.max_redraws
        reasons = Counter(reason.kind for refusal in self.refusals for reason in refusal.reasons)
        counted = "; ".join(f"{count} x {kind}" for kind, count in reasons.most_common(5))
        numbers = ", ".join(map(str, given_up[:10])) + (" ..." if len(given_up) > 10 else "")
        advice = [f"Each draw is listed in {listed}"] if listed else []
        if set(reasons) - {COPY_KIND}:
            advice.append(
                "Train the generator longer (diffusion.training.steps), or raise synthesis.max_redraws (now "
                f"{max_redraws}), or loosen the keys of synthesis.gate that the reasons name"
            )
        if COPY_KIND in reasons:
            advice.append(
                "Against copies: train the generator for fewer steps or on more patients, or raise synthesis.max_redraws "
                f"(now {max_redraws}); `memorisation: {{action: warn}}` releases copies and lists them"
            )
        raise UserError(
            f"the quality gate refused every draw of {len(given_up)} of {len(self.rows) + len(given_up)} cases (numbers "
            f"{numbers}; {max_redraws + 1} draws each): {counted}. {'. '.join(advice)}"
        )

    def _made(self) -> pd.DataFrame:
        names, kind = self.released.generator.conditions.names, self.released.kind
        conditions = [f"{which}_{name}" for which in ("requested", "measured") for name in names]
        origins = [*kind.origins, USE] if kind.hosts else []
        columns = ["case_id", "number", "attempts", *origins, *conditions]
        return pd.DataFrame(self.rows, columns=columns).sort_values("number")

    def _refused(self) -> pd.DataFrame:
        names, origins = self.released.generator.conditions.names, self.released.kind.origins
        rows = [
            {"number": refusal.number, "attempt": refusal.attempt, "reason": "; ".join(refusal.reasons)}
            | {name: getattr(refusal, name) for name in origins}
            | {f"measured_{name}": value for name, value in (refusal.measured or {}).items()}
            for refusal in self.refusals
        ]
        columns = ["number", "attempt", "reason", *origins, *(f"measured_{name}" for name in names)]
        return pd.DataFrame(rows, columns=columns).sort_values(["number", "attempt"])
