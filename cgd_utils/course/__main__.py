"""``python -m cgd_utils.course`` writes the student's notebook from the one with solutions."""

from .lab import write_student_version

print(write_student_version())
