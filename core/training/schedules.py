"""Learning rates as pure functions of the step."""

import math

from ..recipe.schema import Train


def learning_rate(settings: Train, step: int, total: int) -> float:
    """The rate of a step, numbered from 1 to `total`.

    During the warm-up it rises in equal parts to the peak; afterwards `linear` and `cosine` fall to
    `final_lr` times the peak, which they would reach one step after the last; `step` drops every
    `step_every` steps.
    """
    warmup = settings.warmup if settings.warmup >= 1 else settings.warmup * total
    done = step - 1
    if done < warmup:
        return settings.lr * min(1.0, step / warmup)
    progress = (done - warmup) / max(1.0, total - warmup)
    if settings.schedule == "linear":
        return settings.lr * (1 - (1 - settings.final_lr) * progress)
    if settings.schedule == "cosine":
        fall = (1 + math.cos(math.pi * progress)) / 2
        return settings.lr * (settings.final_lr + (1 - settings.final_lr) * fall)
    if settings.schedule == "step":
        return settings.lr * settings.step_factor ** (done // settings.step_every)
    return settings.lr
