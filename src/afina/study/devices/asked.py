"""Read which machines a plan is asked for, before anything heavy is imported, and give it as JSON or as rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from afina.config import StudyConfig
from afina.errors import UsageError, shown
from afina.one_or_more import one_or_more
from afina.study.devices.device import Device
from afina.study.devices.money import Price, grid_factor, priced, which_devices

if TYPE_CHECKING:
    from afina.study.devices.elsewhere import DevicePlan

__all__ = ["Machines", "asked_machines", "machine_rows", "machines_as_dict"]


@dataclass(frozen=True)
class Machines:
    """Holds the machines, their prices by name, and the kilograms of CO2 a kilowatt-hour."""

    devices: Sequence[Device]
    prices: Mapping[str, Price]
    grid: float | None

    def planned(self, config: StudyConfig, tell: Callable[[str], None]) -> "list[DevicePlan]":
        """Return what a study takes on them."""
        from afina.study.devices.elsewhere import plan_elsewhere

        return plan_elsewhere(config, self.devices, prices=self.prices, grid=self.grid, tell=tell)


def asked_machines(
    devices: str | Sequence[str], prices: Mapping[str, str | float] | str | Sequence[str], grid: str | float | None
) -> Machines | None:
    """Return what is asked for, None where it is this machine; raises `UsageError` for what nobody knows."""
    names = one_or_more(devices)
    written = (
        [f"{name}={_hourly(own)}" for name, own in prices.items()]
        if isinstance(prices, Mapping)
        else one_or_more(prices)
    )
    by_name: dict[str, Price] = {}
    for text in written:
        name, price = priced(text)
        if name in by_name:
            raise UsageError(f"{shown(name)} has two prices; leave one out.")
        by_name[name] = price
    machines, costs = which_devices(names, by_name)
    factor = grid_factor(f"{grid} kg/kWh" if isinstance(grid, int | float) else grid) if grid is not None else None
    if not machines:
        if factor is not None:
            raise UsageError(
                "The grid's factor says something of a card whose power is published: name one with --device (devices= in "
                "Python); what this machine draws is measured while it runs."
            )
        return None
    return Machines(machines, costs, factor)


def _hourly(price: str | float) -> str:
    """Return a price as it is written for the command."""
    return price if isinstance(price, str) else f"{price:.12g}/h" if abs(price) >= 1e-4 else f"{price:.12f}/h"


def machines_as_dict(plans: "Sequence[DevicePlan]") -> dict[str, Any]:
    """Return the plans of several machines as JSON-able values, with the cheapest that all runs fit on."""
    from afina.study.devices.elsewhere import cheapest

    best = cheapest(plans)
    return {
        "machines": [own.as_dict() for own in plans],
        "cheapest": None if best is None else {"device": best[0].device.name, "clearly": best[1]},
    }


def machine_rows(plans: "Sequence[DevicePlan]") -> list[dict[str, Any]]:
    """Return a row for each run on each machine."""
    return [{"device": own.device.name, **cell.as_dict()} for own in plans for cell in own.cells]
