"""Errors that are sentences for the user: what is wrong, where, and what to do."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can mend. Programs print the message alone, without a traceback, and exit with 2."""


class BadCase(UserError):
    """One case cannot be used.

    Attributes
    ----------
    case_id : str
        The case, as named on disk.
    file : str
        The file in which the fault was found (a path; several are joined by a comma).
    reason, remedy : str
        What is wrong, and what the user can do about it.
    """

    def __init__(self, case_id: str, file: object, reason: str, remedy: str = ""):
        self.case_id, self.file, self.reason, self.remedy = str(case_id), str(file), reason, remedy
        super().__init__(f"case {self.case_id}: {reason} ({self.file})" + (f". {remedy}" if remedy else ""))
