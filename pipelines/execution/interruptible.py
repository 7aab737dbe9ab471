"""A call that a signal can end: libraries that handle signals themselves do so only in the main thread."""

import threading
from collections.abc import Callable
from typing import TypeVar

from pipelines.common.errors import PipelineError

Result = TypeVar("Result")
_LOOK_EVERY_S = 0.5


def beside_main(call: Callable[[], Result], name: str) -> Result:
    """`call()` in a thread, waited for here; what it raises is raised here. An exception that a signal handler raises
    ends the waiting, and leaves the thread to its engine: a `ray.get` in it raises SystemExit(0) as Ray is shut down.

    Raises PipelineError for a SystemExit, by which an engine that has ended would end this process as if all were done.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:  # handed to the caller as it is
            errors.append(error)

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_LOOK_EVERY_S)
    if errors and isinstance(errors[0], SystemExit):
        raise PipelineError(f"the engine ended under the {name}") from errors[0]
    if errors:
        raise errors[0]
    return results[0]
