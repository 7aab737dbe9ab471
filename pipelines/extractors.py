"""The learned operators of a recipe: networks of model.extractors as steps that derive columns of a corpus."""

from collections.abc import Sequence

from dataprep.classical import operators
from dataprep.corpus_recipe import CorpusRecipe
from dataprep.operators import Operator


def corpus_operators(recipe: CorpusRecipe) -> tuple[Operator, ...]:
    """Every derived column of a corpus, in an order in which each finds its inputs done."""
    return operators(recipe, learned(recipe))


def learned(recipe: CorpusRecipe) -> Sequence[Operator]:
    return ()
