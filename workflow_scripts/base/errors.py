"""Errors that are sentences for the user: what is wrong, where, and what to do."""


class UserError(Exception):
    """Something the user can mend. Programs print the message alone, without a traceback, and exit with 2."""


KINDS = ("unreadable", "incomplete", "duplicate", "synthetic", "grid", "values", "labels", "empty", "size", "other")


class BadCase(UserError):
    """One case cannot be used.

    case_id : str
        The case, as named on disk.
    file : str
        The file in which the fault was found (a path; several are joined by a comma).
    reason, remedy : str
        What is wrong, and what the user can do about it.
    kind : str
        One of KINDS: what sort of fault it is, to count by.
    """

    def __init__(self, case_id: str, file: object, reason: str, remedy: str = "", kind: str = "other"):
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r} is none of {', '.join(KINDS)}")
        self.case_id, self.file, self.reason, self.remedy = str(case_id), str(file), reason, remedy
        self.kind = kind
        super().__init__(f"case {self.case_id}: {reason} ({self.file})" + (f". {remedy}" if remedy else ""))
