"""What a model's outputs are for: classes, values, next tokens. Told by the labels' type and shape and the outputs'
shape, or named by `Dataset.task`."""

from .base import Task
from .find import find_task, required_task

__all__ = ["Task", "find_task", "required_task"]
