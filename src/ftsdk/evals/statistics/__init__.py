"""Statistics of evals: intervals, tests, power, and bets that are safe to look at early. No scipy: it takes 0.7 s."""

from ftsdk.evals.statistics.betting import Bets, confidence_sequence
from ftsdk.evals.statistics.bootstrap import bootstrap_interval, paired_bootstrap_interval
from ftsdk.evals.statistics.clusters import Groups
from ftsdk.evals.statistics.distributions import t_quantile, t_two_sided
from ftsdk.evals.statistics.interval import Interval
from ftsdk.evals.statistics.means import is_binary, mean_interval, paired_mean_interval
from ftsdk.evals.statistics.power import chance_to_see, examples_needed, smallest_difference
from ftsdk.evals.statistics.shares import paired_difference_interval, wilson_interval
from ftsdk.evals.statistics.significance import holm, mcnemar, paired_t, sign_flips, swaps

__all__ = [
    "Bets",
    "Groups",
    "Interval",
    "bootstrap_interval",
    "chance_to_see",
    "confidence_sequence",
    "examples_needed",
    "holm",
    "is_binary",
    "mcnemar",
    "mean_interval",
    "paired_bootstrap_interval",
    "paired_difference_interval",
    "paired_mean_interval",
    "paired_t",
    "sign_flips",
    "smallest_difference",
    "swaps",
    "t_quantile",
    "t_two_sided",
    "wilson_interval",
]
