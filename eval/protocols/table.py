"""The table of protocols: one row each, in the order in which they are listed to a person."""

from eval.protocols.deformed_reference import DEFORMED_REFERENCE
from eval.protocols.known_answer import KNOWN_ANSWER
from eval.protocols.protocol import EvaluationProtocol
from eval.protocols.published import PUBLISHED
from eval.protocols.random_reference import RANDOM_REFERENCE
from eval.protocols.same_group import SAME_GROUP
from eval.protocols.self_reference import SELF_REFERENCE
from eval.protocols.uniform_reference import UNIFORM_REFERENCE
from eval.protocols.user_pairs import USER_PAIRS

PROTOCOLS: dict[str, EvaluationProtocol] = {
    protocol.name: protocol
    for protocol in (
        RANDOM_REFERENCE,
        SAME_GROUP,
        DEFORMED_REFERENCE,
        SELF_REFERENCE,
        KNOWN_ANSWER,
        UNIFORM_REFERENCE,
        USER_PAIRS,
        *PUBLISHED,
    )
}
