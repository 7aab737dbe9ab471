"""The one error of this package that a user sees: it says what is wrong, where, and what to do."""


class PipelineError(RuntimeError):
    """Something is missing, damaged or refused; the message is one clear line."""


class EngineLost(PipelineError):
    """The engine under the work is gone: whatever is tried on it next fails too."""
