import pytest

from dataprep.plan.corpus_recipe import CorpusRecipe


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="validation_share"):
        CorpusRecipe(validation_share=1.0)
    with pytest.raises(ValueError, match="shard_rows"):
        CorpusRecipe(shard_rows=0)
