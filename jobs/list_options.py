"""Several values after an option that takes many: `--sketch a.png b.png`, as a shell writes `--sketch drawings/*.png`.

The parser wants the option before each value, so it is written again before each that follows. Words that the command
itself still takes, such as the stage of `irodori train`, come first: they are no values.
"""

from collections.abc import Sequence
from math import inf
from typing import Any


def repeat_list_options(parameters: Sequence[Any], words: Sequence[str]) -> list[str]:
    """The words of a call to a command with these parameters, each value of an option of many behind the option."""
    options = {name: option for option in parameters for name in (*option.opts, *option.secondary_opts)}
    arguments = [parameter.nargs for parameter in parameters if parameter.param_type_name == "argument"]
    left = inf if any(nargs < 0 for nargs in arguments) else sum(arguments)
    repeated, rest, many = list[str](), list(words), ""
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*repeated, word, *rest]
        if word.startswith("-") and len(word) > 1:
            name, has_value, _ = word.partition("=")
            option = options.get(name)
            takes_value = option is not None and option.param_type_name == "option" and not option.is_flag
            repeated += [word, *([rest.pop(0)] if takes_value and not has_value and rest else [])]
            many = name if takes_value and option is not None and option.multiple else ""
        elif many and left <= 0:
            repeated += [many, word]
        else:
            repeated.append(word)
            left, many = left - 1, ""
    return repeated
