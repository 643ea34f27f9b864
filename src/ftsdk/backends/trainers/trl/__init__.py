"""TRL: supervised fine-tuning and preference methods with peft, on one device or many."""

from ftsdk.backends.trainers.trl.trainer import TRLTrainer

__all__ = ["TRLTrainer"]
