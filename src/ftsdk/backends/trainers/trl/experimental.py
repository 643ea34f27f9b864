"""The parts of `trl.experimental` that are used here: TRL may change them in any release, so they are named once."""

from __future__ import annotations

import os
from typing import Any

# TRL warns of the package on import, in every run's log.
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

from trl.experimental import cpo, orpo

__all__ = ["CPOConfig", "CPOTrainer", "ORPOConfig", "ORPOTrainer"]

# Their types say less than they take.
CPOConfig: Any = cpo.CPOConfig
CPOTrainer: Any = cpo.CPOTrainer
ORPOConfig: Any = orpo.ORPOConfig
ORPOTrainer: Any = orpo.ORPOTrainer
