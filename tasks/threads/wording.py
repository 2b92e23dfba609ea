"""How figures are written in sentences."""

TIMES = "\N{MULTIPLICATION SIGN}"


def factor(value: float) -> str:
    """1.53 with its sign; one digit after the point from ten on."""
    return f"{value:.1f}{TIMES}" if value >= 10 else f"{value:.2f}{TIMES}"


def percent(share: float) -> str:
    """A share as per cent, never rounded to nothing or to all."""
    if 0 < share < 0.01:
        return "less than 1 %"
    return f"{share * 100:.0f} %"


def plural(number: int, what: str) -> str:
    """1 trial, 2,000 trials."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
