"""The learning rate, and the decay of the moving average, at each step of a stage; progress is counted in images."""

from model.optimizer import OptimizerSettings
from pipelines.recipes.stage_recipe import StageRecipe


def learning_rate(recipe: StageRecipe, images_seen: int, optimizer: OptimizerSettings | None = None) -> float:
    """Of the step that starts at `images_seen`; `optimizer`: of a network that has one of its own."""
    return scheduled_rate(
        (optimizer or recipe.optimizer).learning_rate,
        images_seen,
        images=recipe.length.images,
        batch_size=recipe.length.batch_size,
        warmup_images=recipe.optimizer.warmup_images,
        decay_images=recipe.optimizer.decay_images,
    )


def scheduled_rate(
    peak: float, images_seen: int, *, images: int, batch_size: int, warmup_images: int, decay_images: int
) -> float:
    """The learning rate of the step that starts at `images_seen` of `images`.

    Linear warm-up over `warmup_images`, constant at `peak`, linear decay to a tenth over the last `decay_images`.
    """
    if images_seen < warmup_images:
        return peak * (images_seen + batch_size) / (warmup_images + batch_size)
    left = images - images_seen
    if left < decay_images:
        return peak * max(0.1, left / decay_images)
    return peak


def average_decay(most: float, steps: int) -> float:
    """Of a moving average's next step after `steps`: min(most, (1 + n) / (10 + n)), as is usual, so that the untrained
    weights at the beginning are soon forgotten."""
    return min(most, (1 + steps) / (10 + steps))
