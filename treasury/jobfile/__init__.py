"""Job files: `job.toml`, `job.yaml` or a JSON document to a `JobSpec`, or errors that say what to
write instead.

Lives here: the keys and their units, YAML with limits, what contradicts what, where the values of
secrets come from. May not live here: anything that submits or runs a job. `reader` gets a table
out of a file, `sections` says which keys there are, `specs` makes a job of them.
"""

from treasury.jobfile.reader import Source, read_file, read_text, with_settings
from treasury.jobfile.sections import JobSection
from treasury.jobfile.specs import Findings, inspect_job, job_spec, load_job

__all__ = [
    "Findings",
    "JobSection",
    "Source",
    "inspect_job",
    "job_spec",
    "load_job",
    "read_file",
    "read_text",
    "with_settings",
]
