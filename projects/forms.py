"""The forms of a project's policy page. The engine has the last word on what they send."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass
from typing import Any

from django import forms
from django.forms import BoundField

from diagnostics.engine import BASELINES, CHECKS, Check, IssueCategory, IssueSeverity, Profile, grouped_thresholds
from diagnostics.engine import Baseline as Figures
from projects.models import Project
from projects.services import policy_settings

LIMIT, CHECK, CATEGORY = "limit-", "check-", "category-"
OFF = "off"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: a field of the form, and what it is about."""

    field: BoundField
    name: str
    default: Any
    unit: str
    reason: str
    is_own: bool


class PolicyForm(forms.Form):
    """Everything that a project can set. An empty field is the default."""

    profile = forms.ChoiceField(choices=[(each, each) for each in Profile], widget=forms.RadioSelect)
    baseline = forms.ChoiceField(required=False)

    def __init__(self, project: Project, data: Any = None, *, may_change: bool = True) -> None:
        self.own = policy_settings(project)
        super().__init__(data, initial=self._initial())
        names = sorted({*BASELINES, *(each.name for each in project.baselines.all())})
        self.fields["baseline"].choices = [("", "none"), *((name, name) for name in names)]
        for field in (each for group in grouped_thresholds().values() for each in group):
            self.fields[LIMIT + field.name] = _number_field(field)
        for check in CHECKS.values():
            self.fields[CHECK + check.id] = _severity_field(check)
        for category in IssueCategory:
            self.fields[CATEGORY + category] = forms.BooleanField(required=False, label=f"All of {category} off")
        for each in self.fields.values():
            each.disabled = not may_change

    def _initial(self) -> dict[str, Any]:
        own, initial = self.own, {"profile": self.own["profile"], "baseline": self.own["baseline"]}
        initial |= {LIMIT + name: value for name, value in _items(own["thresholds"])}
        initial |= {CHECK + check: severity for check, severity in _items(own["severity"])}
        for name in own["disable"] if isinstance(own["disable"], list) else ():
            initial |= {f"{CATEGORY}{name}": True} if name in list(IssueCategory) else {f"{CHECK}{name}": OFF}
        return initial

    def settings(self) -> dict[str, Any]:
        """Return what was sent, by the names of `Policy.from_mapping`."""
        sent = self.cleaned_data
        chosen = {name.removeprefix(CHECK): value for name, value in sent.items() if name.startswith(CHECK) and value}
        off = [name.removeprefix(CATEGORY) for name, value in sent.items() if name.startswith(CATEGORY) and value]
        return {
            "profile": sent["profile"],
            "baseline": sent["baseline"],
            "thresholds": {
                name.removeprefix(LIMIT): value
                for name, value in sent.items()
                if name.startswith(LIMIT) and value is not None
            },
            "severity": {check: severity for check, severity in chosen.items() if severity != OFF},
            "disable": [*off, *(check for check, severity in chosen.items() if severity == OFF)],
        }

    def limits(self) -> Iterator[tuple[str, list[Row], bool]]:
        """Yield the thresholds by group, and whether one of them is set or wrong."""
        own = dict(_items(self.own["thresholds"]))
        for title, group in grouped_thresholds().items():
            rows = [
                Row(self[LIMIT + each.name], each.name, each.default, each.metadata["unit"], each.metadata["reason"],
                    each.name in own)
                for each in group
            ]  # fmt: skip
            yield title, rows, any(row.is_own or row.field.errors for row in rows)

    def checks(self) -> Iterator[tuple[str, BoundField, list[Row], bool]]:
        """Yield the checks by category, with the category's own switch, and whether anything is set."""
        own = {name.removeprefix(CHECK).removeprefix(CATEGORY) for name in self.initial}
        for category in IssueCategory:
            of_it = [check for check in CHECKS.values() if check.category is category]
            rows = [
                Row(self[CHECK + each.id], each.id, str(each.severity), "", each.doc.partition("\n")[0], each.id in own)
                for each in of_it
            ]
            yield str(category), self[CATEGORY + category], rows, category in own or any(row.is_own for row in rows)


class BaselineForm(forms.Form):
    """What is usual for a task."""

    name = forms.CharField(label="Task", max_length=100)
    metric = forms.CharField(initial="accuracy", max_length=100)
    direction = forms.ChoiceField(
        label="Better when", required=False, choices=[("", "as usual"), ("higher", "higher"), ("lower", "lower")]
    )
    value = forms.FloatField()
    epochs = forms.IntegerField(required=False, min_value=1)
    parameters = forms.IntegerField(required=False, min_value=1)
    source = forms.CharField(required=False, max_length=300)

    def figures(self) -> dict[str, Any]:
        return {name: value for name, value in self.cleaned_data.items() if name != "name" and value not in (None, "")}


def shipped() -> list[Figures]:
    """Return the baselines that every project has."""
    return list(BASELINES.values())


def _items(mapping: Any) -> list[tuple[str, Any]]:
    # What an older version stored may be anything.
    return list(mapping.items()) if isinstance(mapping, dict) else []


def _number_field(field: Field[Any]) -> forms.Field:
    whole, low, high = isinstance(field.default, int), field.metadata["low"], field.metadata["high"]
    bounds = {"min_value": low, "max_value": None if high == float("inf") else high}
    kind = forms.IntegerField if whole else forms.FloatField
    shown = str(field.default) if whole else f"{field.default:g}"
    attributes = {"placeholder": shown} if whole else {"placeholder": shown, "step": "any"}
    return kind(required=False, label=field.name, widget=forms.NumberInput(attributes), **bounds)


def _severity_field(check: Check) -> forms.Field:
    choices = [("", f"{check.severity} (default)"), *((each, str(each)) for each in IssueSeverity), (OFF, OFF)]
    return forms.ChoiceField(required=False, label=check.id, choices=choices)
