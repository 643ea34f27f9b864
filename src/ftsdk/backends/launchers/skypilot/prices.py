"""What an hour costs: what the user says, or the price book. Offline, so SkyPilot's own catalogue isn't asked."""

from __future__ import annotations

from ftsdk._format import money
from ftsdk.backends.launchers.hourly import billing_by_hour
from ftsdk.backends.launchers.skypilot.options import OWNED, Options
from ftsdk.cost.pricebook.gpu_prices import gpu_price
from ftsdk.errors import SpecError
from ftsdk.protocol import Billing, HourlyBilling, Rate
from ftsdk.spec import JobSpec

__all__ = ["billing_of"]


def billing_of(spec: JobSpec, options: Options) -> Billing | None:
    """Return what is billed; None: not known."""
    if options.usd_per_hour is not None or options.place in OWNED:
        return billing_by_hour(
            spec, options.usd_per_hour, what=options.place or "SkyPilot", argument="SkyPilot(usd_per_hour=)"
        )
    if not options.gpus or not options.gpu or not options.cloud:
        return None
    try:
        # A GPU of this name may be sold in several forms; the dearest one counts.
        price = gpu_price(options.gpu, options.place, offer="spot" if options.use_spot else "on-demand")
    except SpecError:
        return None
    usd = price.usd_per_gpu_hour * options.gpus
    what = f"{options.gpus} x {options.gpu} at {options.place}"
    source = f"{money(usd)} an hour for {what}{', spot' if options.use_spot else ''}: {price.cited}"
    return HourlyBilling(
        rates=(Rate(label=what, usd=usd, source=source),), most_usd_per_hour=usd, source=source, note=source
    )
