"""The named recipes of corpora: one line says what each is for, the rest is what it changes."""

from dataprep.corpus_recipe import CorpusRecipe

#                   what it is for                         what it changes
CORPUS_RECIPES = {
    "plain": CorpusRecipe(),  # pictures of any kind
    # few pictures: more of them to score, finer progress, small batches
    "demo": CorpusRecipe(validation_share=0.15, shard_rows=64, batch_rows=16),
}
