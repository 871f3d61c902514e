"""The sections of the report: functions (Run) -> Section, or None where there is nothing to show."""
