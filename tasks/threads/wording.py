"""How figures are written in sentences."""

from tasks.threads.estimates import MIN_PAIRS, Ratio

TIMES = "\N{MULTIPLICATION SIGN}"


def factor(value: float) -> str:
    """1.53 with its sign; one digit after the point from ten on."""
    return f"{value:.1f}{TIMES}" if value >= 10 else f"{value:.2f}{TIMES}"


def with_interval(ratio: Ratio) -> str:
    """A ratio with its interval, or with why it has none."""
    if ratio.low is None or ratio.high is None:
        return f"{factor(ratio.value)}, no interval from {ratio.pairs} of at least {MIN_PAIRS} quiet pairs"
    return f"{factor(ratio.value)}, 95 % interval {ratio.low:.2f} to {ratio.high:.2f}"


def percent(share: float) -> str:
    """A share as per cent, never rounded to nothing or to all."""
    if 0 < share < 0.01:
        return "less than 1 %"
    return f"{share * 100:.0f} %"


def plural(number: int, what: str) -> str:
    """1 trial, 2,000 trials."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
