"""Say what a study costs in money, energy and CO2 on machines that are paid by the hour, and where it costs least."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from afina.errors import UsageError, shown
from afina.study.devices.device import Device, device_named

if TYPE_CHECKING:  # a price is read before torch is imported
    from afina.study.needs import Likely

__all__ = ["Price", "co2_kg", "energy_joules", "grid_factor", "priced", "which_devices"]

_POWER = 0.3, 0.7, 1.0
"""Shares of the power that a card is made for which it is taken to draw while it trains."""
_KWH = 3.6e6


@dataclass(frozen=True)
class Price:
    """Says what an hour of a machine costs."""

    per_hour: float
    currency: str = ""

    def of(self, seconds: "Likely") -> "Likely":
        """Return what so many seconds cost."""
        return seconds.times(self.per_hour / 3600)


def priced(text: str) -> tuple[str, Price]:
    """Return the machine and the price of `T4=0.35/h`, `T4=$0.35/h` or `T4=0.35 EUR/h`; raises `UsageError`."""
    name, mark, amount = text.rpartition("=")
    match = re.fullmatch(
        r"\s*([A-Za-z$€£¥₹]{0,4})\s*(\d+(?:\.\d+)?|\.\d+)\s*([A-Za-z$€£¥₹]{0,4})\s*/\s*(?:h|hr|hour)\s*", amount
    )
    if not mark or not name.strip() or match is None or (match[1] and match[3]):
        raise UsageError(f"{shown(text)} is no price; write it as 'T4=0.35/h' or 'RTX 3060 12GB=0.20 EUR/h'.")
    if not math.isfinite(cost := float(match[2])):
        raise UsageError(f"{shown(text)} is no price that anybody pays.")
    return name.strip(), Price(cost, match[1] or match[3])


def grid_factor(text: str) -> float:
    """Return the kilograms of CO2 a kWh of `0.1 kg/kWh` or `100 g/kWh`; raises `UsageError`."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(k?g)\s*/\s*kwh\s*", text.casefold())
    if match is None or not math.isfinite(float(match[1])):
        raise UsageError(
            f"{shown(text)} is no factor of a grid; write its kilograms of CO2 a kilowatt-hour: '0.1 kg/kWh'."
        )
    return float(match[1]) / (1 if match[2] == "kg" else 1000)


def which_devices(
    names: Sequence[str], prices: Mapping[str, Price]
) -> tuple[list[Device], dict[str, Price]]:  # fmt: skip
    """Return the machines that are named, each once, with the prices by their own names.

    A machine that has a price is named by that. Raises `UsageError` for one that nobody knows, and for two currencies.
    """
    devices = {own.name: own for own in map(device_named, names)}
    by_name: dict[str, Price] = {}
    for name, price in prices.items():
        device = device_named(name)
        if device.name in by_name:
            raise UsageError(f"{device.name} has two prices; leave one out.")
        devices.setdefault(device.name, device)
        by_name[device.name] = price
    if len(currencies := {price.currency for price in by_name.values()}) > 1:
        currencies_told = " and ".join(sorted(own or "no currency" for own in currencies))
        raise UsageError(f"The prices are in {currencies_told}; write all in one, so that they can be compared.")
    return list(devices.values()), by_name


def energy_joules(device: Device, seconds: "Likely | None") -> "Likely | None":
    """Return what a card draws in that time, by the power that it is made for; None where that is not known.

    The computer around the card is not counted.
    """
    if device.watts is None or seconds is None:
        return None
    from afina.study.needs import Likely

    low, value, high = (share * device.watts for share in _POWER)
    return Likely(low * seconds.low, value * seconds.value, high * seconds.high)


def co2_kg(joules: "Likely | None", factor: float | None) -> "Likely | None":
    """Return the CO2 of so much energy, by the factor of the grid that it comes from."""
    return None if joules is None or factor is None else joules.times(factor / _KWH)
