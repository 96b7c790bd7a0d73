"""Checks on emissions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.checks.loss import TRAIN
from diagnostics.engine.checks.throughput import DURATION
from diagnostics.engine.checks.waste import early_stop_opportunity
from diagnostics.engine.curves import median, ratio
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Rule, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds

EMITTED, ENERGY = "carbon_emissions.epoch_co2_kg", "carbon_emissions.epoch_energy_kwh"
POWER = "carbon_emissions.power_draw_watts"


def _sum(run: Run, name: str, after: int = -1) -> float:
    values = run.column(name).values[after + 1 :]
    return float(values[np.isfinite(values)].sum())


@check(
    "high-carbon-intensity",
    title="Carbon footprint",
    category=IssueCategory.sustainability,
    severity=IssueSeverity.info,
    scope=Scope.session,
    needs=(EMITTED,),
    section="6.11",
)
def high_carbon_intensity(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """What the run has emitted, and the epochs that emitted much more than the others.

    ## What it does
    Reports the run's CO2, energy and power, and names epochs whose emissions per second were more than twice the
    run's median. The robust profile is silent about runs of less than a gram that have no such epoch.

    ## Why it matters
    Energy is what training costs, in money and in emissions. An epoch that stands out did something else beside it.

    ## How to fix it
    Train in half precision, stop early, and run where and when electricity is clean.

    ```python
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss = criterion(model(x), y)
    ```
    """
    emitted, grams = run.column(EMITTED), 1000 * _sum(run, EMITTED)
    if grams <= 0:
        return
    power = run.column(POWER)
    drawn = f", {power.values[power.finite].mean():.3g} W" if power.finite.size else ""
    wasteful = run.epochs[_wasteful(run, limits)].tolist()
    named = f" Epochs {', '.join(map(str, wasteful[:6]))} emitted more than usual." if wasteful else ""
    yield Finding(
        description=f"{grams:.3g} g CO2 over {emitted.finite.size} epochs, {1000 * _sum(run, ENERGY):.3g} Wh{drawn}."
        f"{named}",
        key=EMITTED,
        value=grams / 1000,
        evidence=evidence([EMITTED], wasteful, [], limits, "carbon_ratio") | {"co2_g": grams},
    )


@high_carbon_intensity.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    for found in high_carbon_intensity.rule(run, limits):
        if found.evidence["co2_g"] < limits.notable_co2_g and not found.evidence["epochs"]:
            found.suppressed = f"{found.evidence['co2_g']:.2g} g is hardly anything"
        yield found


def _wasteful(run: Run, limits: DiagnosticThresholds) -> list[int]:
    rate = ratio(run.column(EMITTED).values, run.column(DURATION).values)
    known = rate[np.isfinite(rate)]
    if known.size < limits.short_history:
        return []
    return [int(row) for row in np.flatnonzero(rate > limits.carbon_ratio * median(known))]


@check(
    "wasted-carbon",
    title="Wasted carbon",
    category=IssueCategory.sustainability,
    severity=IssueSeverity.info,
    scope=Scope.session,
    needs=(EMITTED, TRAIN),
    section="6.11",
)
def wasted_carbon(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Emissions of epochs that brought nothing.

    ## What it does
    Adds up CO2 and energy of the epochs after the one at which training could have stopped. Each profile goes by its
    own judgement of that: see early-stop-opportunity.

    ## Why it matters
    These emissions bought no better model.

    ## How to fix it
    Use early stopping with a patience of a few epochs, and keep the best checkpoint.

    ```python
    EarlyStopping(monitor="val_loss", patience=3, min_delta=0.01)
    ```
    """
    yield from _wasted(run, limits, early_stop_opportunity.rule)


@wasted_carbon.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    yield from _wasted(run, limits, early_stop_opportunity.gated or early_stop_opportunity.rule)


def _wasted(run: Run, limits: DiagnosticThresholds, stops: Rule) -> Iterator[Finding]:
    for stop in stops(run, limits):
        if stop.suppressed is not None or stop.epoch is None:
            continue
        row = int(np.flatnonzero(run.epochs == stop.epoch)[0])
        wasted = 1000 * _sum(run, EMITTED, row)
        if wasted > 0:
            yield Finding(
                description=f"Training could have stopped after epoch {stop.epoch}: the remaining {len(run) - 1 - row} "
                f"epochs emitted {wasted:.3g} g CO2 and took {1000 * _sum(run, ENERGY, row):.3g} Wh.",
                epoch=stop.epoch,
                key=EMITTED,
                value=wasted / 1000,
                evidence=evidence([EMITTED], [stop.epoch], [], limits, "diminishing_returns_pct") | {"co2_g": wasted},
            )
