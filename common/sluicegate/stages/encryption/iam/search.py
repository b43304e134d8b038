"""Looking for a request that gets through.

A request gets through if no Deny statement matches it and, where the caller needs that, an
Allow statement does. Callers, actions and resources are tried one of each sort; what is left
is a question about the context alone: values for condition keys under which all conditions
of one Allow hold and, in each Deny, at least one does not. Keys do not hang together here
(those that do are fixed beforehand), so it is a small search over one example of each part of
each key's values.

If the search finds nothing although it had to leave something out, it says so: nothing found
is then no proof.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import product
from math import prod
from typing import Final

from sluicegate.stages.encryption.iam.context import (
    ABSENT,
    Test,
    Value,
    always_present,
    can_carry,
    possible_values,
    stranger,
)
from sluicegate.stages.encryption.iam.document import Condition, PolicyDocument, Statement
from sluicegate.stages.encryption.iam.glob import Glob, cells
from sluicegate.stages.encryption.iam.operators import Family, is_readable, pattern_of
from sluicegate.stages.encryption.iam.principals import Caller
from sluicegate.stages.encryption.iam.variables import FRESH, resolve, variables_of

__all__ = ["Goal", "NothingFound", "Request", "Scenario", "Target", "find_request"]

_MOST_STEPS: Final = 200_000
"""Choices tried for one question before giving up; real policies take some hundreds."""
_MOST_ASSIGNMENTS: Final = 64
"""Combinations of values for a policy's variables; four variables, absent or not, make 16."""


@dataclass(frozen=True, slots=True)
class Target:
    """Actions that are asked about, with the resources they act on."""

    actions: tuple[str, ...]
    resources: Glob


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a question fixes of a request."""

    fixed: Mapping[str, Value]
    """Keys in lower case with their only value."""
    barred: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Keys with values that they must not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A question: which requests are looked for."""

    targets: tuple[Target, ...]
    callers: tuple[tuple[Caller, bool], ...]
    """Callers, and whether each needs an Allow of this policy."""
    scenarios: tuple[Scenario, ...]
    now: datetime
    strangers: bool = False
    """Callers belong nowhere: no value that the policy names is theirs."""
    gap: str = ""
    """What targets and callers leave out, if anything."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that gets through."""

    caller: Caller
    action: str
    resource: str
    context: Mapping[str, Value]
    """Keys as the policy writes them; absent ones are left out."""


@dataclass(frozen=True, slots=True)
class NothingFound:
    """No request was found."""

    gap: str = ""
    """What was left out; empty if nothing was: then there is no such request."""


def find_request(document: PolicyDocument, goal: Goal) -> Request | NothingFound:
    """Look for a request that gets through.

    Args:
        document: the policy.
        goal: which requests count.
    """
    if _settled(document, goal):
        return NothingFound()
    search = _Search(document, goal)
    try:
        for request in search.requests():
            return request
    except (_TooManySteps, RecursionError):
        return NothingFound("the policy is too entangled")
    return NothingFound(search.gap)


def _settled(document: PolicyDocument, goal: Goal) -> bool:
    """Return whether the plainest Deny statements alone let nothing through.

    More statements that deny cannot open anything. So only those are looked at whose
    conditions are about what the question fixes: a policy that is sound by its plain
    statements is told at once, however entangled the rest of it is.
    """
    plain = tuple(
        one
        for one in document.statements
        if not one.allows
        and one.conditions
        and not (document.variables and _variables_in(one))
        and all(
            all(each.key in scenario.fixed for each in one.conditions)
            for scenario in goal.scenarios
        )
    )
    if not plain or len(plain) == len(document.statements):
        return False
    everyone = tuple((caller, False) for caller, _ in goal.callers)
    search = _Search(PolicyDocument(plain, document.variables), replace(goal, callers=everyone))
    try:
        return next(search.requests(), None) is None and not search.gap
    except (_TooManySteps, RecursionError):
        return False


class _TooManySteps(Exception):  # noqa: N818  a limit, handled above
    """The search was given up."""


@dataclass(frozen=True, slots=True)
class _Clause:
    """One condition, ready to be tested."""

    bit: int
    key: str
    test: Test
    dead: bool
    """It is not relied on in a Deny: it hangs on a variable that has no value."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """A value of a key, and which of the policy's conditions do not hold under it."""

    value: Value
    fails: int


@dataclass(slots=True)
class _Ready:
    """The policy with values put in for its variables."""

    variables: Mapping[str, Value]
    resources: tuple[tuple[Glob | None, ...], ...]
    clauses: tuple[tuple[_Clause, ...], ...]
    by_key: Mapping[str, tuple[_Clause, ...]]
    choices: dict[tuple[object, ...], tuple[_Choice, ...]] = field(default_factory=dict)
    cells: dict[Glob, list[tuple[int, str]]] = field(default_factory=dict)
    solved: dict[tuple[object, ...], dict[str, Value] | None] = field(default_factory=dict)


class _Search:
    def __init__(self, document: PolicyDocument, goal: Goal) -> None:
        self.goal = goal
        self.gap = goal.gap
        self._statements = document.statements
        self._variables: tuple[str, ...] = ()
        if document.variables:
            found = {key for one in document.statements for key in _variables_in(one)}
            self._variables = tuple(sorted(found))
        self._substitutes = document.variables
        self._steps = 0
        self._coarse = False
        """Something had to be left out: more values of variables would only take time."""
        self._ready: dict[tuple[Value, ...], _Ready] = {}
        self._written = {
            one.key: one.written for each in self._statements for one in each.conditions
        }
        self._patterns = [
            [Glob.of(text, fold=True) for text in one.actions.patterns] for one in self._statements
        ]
        self._classes = [(target, self._classify(target)) for target in goal.targets]

    def requests(self) -> Iterator[Request]:
        """Find requests, one for each sort of caller, action and resource that has one."""
        for (caller, needs_allow), scenario in product(self._callers(), self.goal.scenarios):
            selected = [caller.is_among(one.principals) for one in self._statements]
            for number, variables in enumerate(self._assignments(caller, scenario)):
                if number and self._coarse:
                    break
                ready = self._prepare(variables)
                for target, classes in self._classes:
                    for matched, resource in self._resources(ready, target.resources):
                        for action, acted in classes:
                            chosen = [
                                index
                                for index, (who, what) in enumerate(
                                    zip(selected, acted, strict=True)
                                )
                                if who and what and matched >> index & 1
                            ]
                            context = self._through(
                                ready, chosen, caller, scenario, action, needs_allow=needs_allow
                            )
                            if context is not None:
                                values = {**scenario.fixed, **variables, **context}
                                yield self._request(caller, action, resource, values)

    def _callers(self) -> list[tuple[Caller, bool]]:
        """Return one caller of each sort that makes a difference to this question."""
        keys = (*self._written, *self._variables)
        sorts: dict[object, tuple[Caller, bool]] = {}
        for caller, needs_allow in self.goal.callers:
            selected = tuple(caller.is_among(one.principals) for one in self._statements)
            sort = (selected, needs_allow, tuple(caller.fixes(key) for key in keys))
            sorts.setdefault(sort, (caller, needs_allow))
        return list(sorts.values())

    # Actions and resources: one of each sort.

    def _classify(self, target: Target) -> list[tuple[str, tuple[bool, ...]]]:
        """Return one action of each sort, with the statements that select it."""
        sorts: dict[object, tuple[str, tuple[bool, ...]]] = {}
        for action in target.actions:
            acted = tuple(
                any(one.matches(action) for one in patterns) is not statement.actions.negated
                for patterns, statement in zip(self._patterns, self._statements, strict=True)
            )
            carried = tuple(can_carry(action.lower(), key) for key in self._written)
            sorts.setdefault((acted, carried), (action, acted))
        return list(sorts.values())

    def _resources(self, ready: _Ready, within: Glob) -> list[tuple[int, str]]:
        """Return one resource of each sort, with the statements that select it, as bits."""
        if within not in ready.cells:
            patterns = [one for each in ready.resources for one in each if one is not None]
            patterns = list(dict.fromkeys(patterns))
            found: dict[int, str] = {}
            parts = cells(patterns, within)
            if not parts.complete:
                self.gap, self._coarse = "the policy tells too many resources apart", True
            for example in sorted(parts.examples.values(), key=len):
                selected = 0
                for index, each in enumerate(ready.resources):
                    statement = self._statements[index]
                    if None in each and not statement.allows and statement.resources.negated:
                        continue
                    hit = any(one is not None and one.matches(example) for one in each)
                    selected |= (hit is not statement.resources.negated) << index
                found.setdefault(selected, example)
            ready.cells[within] = list(found.items())
        return ready.cells[within]

    # Variables: absent, or a value that nobody names.

    def _assignments(self, caller: Caller, scenario: Scenario) -> Iterator[dict[str, Value]]:
        options = [
            self._fixed(key, caller, scenario) or self._values_of_variable(key)
            for key in self._variables
        ]
        if prod(len(one) for one in options) > _MOST_ASSIGNMENTS:
            self.gap = "the policy has too many variables"
            options = [one[:1] for one in options]
        for values in product(*options):
            yield dict(zip(self._variables, values, strict=True))

    def _values_of_variable(self, key: str) -> tuple[Value, ...]:
        """Return what to put in for a variable: nothing, something new, what it is tested for."""
        self.gap = f"not every value of the policy's variable {key} was tried"
        tests = [
            _test(condition, condition.values)
            for each in self._statements
            for condition in each.conditions
            if condition.key == key
        ]
        tried: list[Value] = [] if always_present(key) else [ABSENT]
        tried.append((FRESH,))
        if tests:
            values, _ = possible_values(key, tests, now=self.goal.now, barred=frozenset())
            tried += [value for value in values if value is None or len(value) == 1]
        return tuple(dict.fromkeys(tried))

    def _prepare(self, variables: dict[str, Value]) -> _Ready:
        assigned = tuple(variables.values())
        if assigned not in self._ready:
            bit, clauses = 1, []
            for statement in self._statements:
                mine = []
                for condition in statement.conditions:
                    mine.append(self._clause(condition, variables, bit))
                    bit <<= 1
                clauses.append(tuple(mine))
            by_key: dict[str, list[_Clause]] = {}
            for one in (clause for each in clauses for clause in each):
                by_key.setdefault(one.key, []).append(one)
            self._ready[assigned] = _Ready(
                variables,
                tuple(
                    tuple(self._pattern(text, variables) for text in one.resources.patterns)
                    for one in self._statements
                ),
                tuple(clauses),
                {key: tuple(found) for key, found in by_key.items()},
            )
        return self._ready[assigned]

    def _text(self, text: str, variables: Mapping[str, Value]) -> str | None:
        return resolve(text, variables) if self._substitutes else text

    def _pattern(self, text: str, variables: Mapping[str, Value]) -> Glob | None:
        resolved = self._text(text, variables)
        return None if resolved is None else Glob.of(resolved)

    def _clause(self, condition: Condition, variables: Mapping[str, Value], bit: int) -> _Clause:
        texts: list[str | None] = list(condition.values)
        if condition.operator.family is Family.TEXT:  # AWS knows variables nowhere else
            texts = [self._text(text, variables) for text in condition.values]
        odd = any(text and not is_readable(condition.operator, text) for text in texts)
        if odd and condition.operator.negated:
            self.gap = f"a value of {condition.written} is none that its operator can compare with"
        # A Deny that hangs on what a variable without a value is not equal to is not relied on.
        dead = condition.operator.negated and None in texts
        return _Clause(bit, condition.key, _test(condition, texts), dead)

    # The context.

    def _fixed(self, key: str, caller: Caller, scenario: Scenario) -> tuple[Value, ...] | None:
        if key in scenario.fixed:
            return (scenario.fixed[key],)
        return caller.fixes(key)

    def _through(
        self,
        ready: _Ready,
        chosen: Sequence[int],
        caller: Caller,
        scenario: Scenario,
        action: str,
        *,
        needs_allow: bool,
    ) -> dict[str, Value] | None:
        """Return a context under which a request gets through, if there is one."""
        denies = [index for index in chosen if not self._statements[index].allows]
        allows: list[int | None] = [index for index in chosen if self._statements[index].allows]
        # One without conditions first: the shortest way.
        allows.sort(key=lambda index: len(ready.clauses[index or 0]))
        keys = {key: self._domain(key, caller, scenario, action, ready) for key in ready.by_key}
        for allow in allows if needs_allow else [None]:
            memory = (tuple(denies), allow, tuple(keys.values()))
            if memory not in ready.solved:
                ready.solved[memory] = self._solve(ready, denies, allow, keys)
            if (found := ready.solved[memory]) is not None:
                return found
        return None

    def _domain(
        self, key: str, caller: Caller, scenario: Scenario, action: str, ready: _Ready
    ) -> tuple[Value, ...] | frozenset[str]:
        """Return the only values of a key, or those that it must not have."""
        fixed = self._fixed(key, caller, scenario)
        if fixed is not None:
            return fixed
        if key in ready.variables:
            return (ready.variables[key],)
        if not can_carry(action.lower(), key):
            return (ABSENT,)
        if self.goal.strangers and (value := stranger(key)) is not None:
            return (ABSENT, (value,))
        return scenario.barred.get(key, frozenset())

    def _choices(
        self, ready: _Ready, key: str, domain: tuple[Value, ...] | frozenset[str]
    ) -> tuple[_Choice, ...]:
        memory = (key, domain)
        if memory not in ready.choices:
            clauses = ready.by_key[key]
            if isinstance(domain, frozenset):
                tests = [one.test for one in clauses]
                values, complete = possible_values(key, tests, now=self.goal.now, barred=domain)
                if not complete:
                    self.gap = f"not every value of {self._written[key]} was tried"
            else:
                values = list(domain)
            found: dict[int, _Choice] = {}
            for value in values:
                fails = sum(
                    one.bit
                    for one in clauses
                    if one.dead or not one.test.operator.holds(value, one.test.wanted)
                )
                found.setdefault(fails, _Choice(value, fails))
            ready.choices[memory] = tuple(found.values())
        return ready.choices[memory]

    def _solve(
        self,
        ready: _Ready,
        denies: Sequence[int],
        allow: int | None,
        keys: Mapping[str, tuple[Value, ...] | frozenset[str]],
    ) -> dict[str, Value] | None:
        """Choose values: all conditions of the Allow hold, one of each Deny does not."""
        required = 0
        if allow is not None:
            required = sum(one.bit for one in ready.clauses[allow])
        relevant = required
        wanted = []
        for index in denies:
            clauses = ready.clauses[index]
            if any(one.dead for one in clauses):
                continue
            if not clauses:
                return None
            wanted.append(sum(one.bit for one in clauses))
            relevant |= wanted[-1]
        options: dict[str, list[_Choice]] = {}
        for key, clauses in ready.by_key.items():
            if not any(one.bit & relevant for one in clauses):
                continue
            kept = [
                choice
                for choice in self._choices(ready, key, keys[key])
                if not self._fails_required(choice, clauses, required)
            ]
            if not kept:
                return None
            options[key] = _best(kept, relevant & ~required)
        owner = {one.bit: key for key, each in ready.by_key.items() for one in each}
        picked = self._pick(sorted(wanted, key=int.bit_count), options, owner, {})
        if picked is None:
            return None
        for key, domain in keys.items():
            if key not in picked:
                rest = options.get(key) or self._choices(ready, key, domain)
                picked[key] = rest[0]
        return {key: choice.value for key, choice in picked.items()}

    @staticmethod
    def _fails_required(choice: _Choice, clauses: Sequence[_Clause], required: int) -> bool:
        fails = choice.fails
        for one in clauses:
            # A dead clause of an Allow is judged as any other: negated, it holds.
            if one.dead and one.test.operator.holds(choice.value, one.test.wanted):
                fails &= ~one.bit
        return bool(fails & required)

    def _pick(
        self,
        wanted: Sequence[int],
        options: Mapping[str, list[_Choice]],
        owner: Mapping[int, str],
        picked: dict[str, _Choice],
    ) -> dict[str, _Choice] | None:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise _TooManySteps
        failing = 0
        for choice in picked.values():
            failing |= choice.fails
        open_ones = [one for one in wanted if not one & failing]
        if not open_ones:
            return dict(picked)
        statement = open_ones[0]
        for bit, key in owner.items():
            if not bit & statement or key in picked:
                continue
            for choice in options[key]:
                if choice.fails & bit:
                    picked[key] = choice
                    if (found := self._pick(open_ones, options, owner, picked)) is not None:
                        return found
                    del picked[key]
        return None

    def _request(
        self,
        caller: Caller,
        action: str,
        resource: str,
        values: Mapping[str, Value],
    ) -> Request:
        written = {**_USUAL, **self._written}
        return Request(
            caller,
            action,
            resource,
            {
                written.get(key, key): value
                for key, value in sorted(values.items())
                if value is not None and (key in written or key not in _OF_THE_BUCKET)
            },
        )


_OF_THE_BUCKET: Final = ("aws:resourceaccount", "s3:resourceaccount")
"""Keys that say no more than whose the bucket is: told only where the policy asks."""
_USUAL: Final = {
    "aws:securetransport": "aws:SecureTransport",
    "s3:tlsversion": "s3:TlsVersion",
}
"""How keys are written that a question fixes and a policy may not mention."""


def _best(choices: Sequence[_Choice], relevant: int) -> list[_Choice]:
    """Drop choices under which no more conditions fail than under another one."""
    kept: list[_Choice] = []
    for choice in sorted(choices, key=lambda one: -(one.fails & relevant).bit_count()):
        fails = choice.fails & relevant
        if not any(fails & ~other.fails == 0 for other in kept):
            kept.append(choice)
    return kept or list(choices[:1])


def _test(condition: Condition, texts: Sequence[str | None]) -> Test:
    return Test(
        condition.operator,
        tuple(None if text is None else pattern_of(condition.operator, text) for text in texts),
    )


def _variables_in(statement: Statement) -> set[str]:
    """Return the keys of the variables in a statement; only texts can hold any."""
    texts = [
        *statement.resources.patterns,
        *(
            value
            for one in statement.conditions
            if one.operator.family is Family.TEXT
            for value in one.values
        ),
    ]
    return {key for text in texts for key in variables_of(text)}
