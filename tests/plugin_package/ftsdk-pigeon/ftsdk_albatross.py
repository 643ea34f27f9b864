"""A backend whose vendor's package isn't installed."""

import albatross_client_that_nobody_has  # pyright: ignore[reportMissingImports]

Albatross = albatross_client_that_nobody_has.Backend
