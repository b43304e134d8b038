"""The walk: chains that hold, and every way in which one breaks."""

from __future__ import annotations

import base64
import itertools
import json
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.canonical import Digest
from sluicegate.figures import MAX_NODES
from sluicegate.model import Verdict
from sluicegate.receipts.lineage import (
    HELD,
    RELEASED,
    Chain,
    Fault,
    History,
    Origin,
    graph_of,
    trace,
)
from sluicegate.receipts.records import Rejected
from sluicegate.receipts.statement import Subject, write_statement
from tests.histories import Ledger, chain_of, diamond, digest, subject

MODEL = subject("model")
DATA = subject("data")


def walk(ledger: Ledger, start: Subject, *, max_depth: int = 10_000, admitting=None) -> Chain:
    stages = {"verify-provenance": "provenance.published"} if admitting is None else admitting
    return trace(start, History(ledger), admitting=stages, max_depth=max_depth)


def faults(chain: Chain) -> set[Fault]:
    return {problem.fault for problem in chain.problems}


def trained() -> Ledger:
    """Return a ledger with data, entry 0, and a model made from it, entry 1."""
    ledger = Ledger()
    ledger.make(DATA)
    ledger.make(MODEL, DATA, activity="train")
    return ledger


# Chains that hold


@pytest.mark.parametrize("length", [1, 5, 50])
def test_a_clean_chain_is_walked_to_its_source(length):
    ledger, subjects = chain_of(length)
    chain = walk(ledger, subjects[-1])
    assert not chain.problems
    assert not chain.cut
    assert [link.subject for link in chain.sources] == [subjects[0]]
    assert chain.depth == length - 1
    assert list(chain.links) == [one.digest for one in reversed(subjects)]


def test_a_diamond_is_walked_once_through_each_link():
    ledger, model = diamond()
    chain = walk(ledger, model)
    assert not chain.problems
    assert len(chain.links) == 5
    assert len(chain.edges) == 5
    assert chain.activities == {"train", "transform", "quarantine", "import"}


def test_a_chain_of_two_thousand_links_is_quick_and_does_not_recurse():
    ledger, subjects = chain_of(2000)
    began = time.process_time()
    chain = walk(ledger, subjects[-1])
    assert not chain.problems
    assert chain.depth == 1999
    assert time.process_time() - began < 2


def test_many_shared_inputs_are_not_walked_again():
    ledger, layers = Ledger(), [[subject(f"{n}-{i}") for i in range(10)] for n in range(40)]
    for one in layers[0]:
        ledger.make(one)
    for below, above in itertools.pairwise(layers):
        for one in above:
            ledger.make(one, *below)
    top = subject("top")
    ledger.make(top, *layers[-1])
    chain = walk(ledger, top)
    assert not chain.problems
    assert len(chain.links) == 401


def test_a_deep_chain_is_cut_and_says_so():
    ledger, subjects = chain_of(12)
    assert "longer than 10" in walk(ledger, subjects[-1], max_depth=10).cut
    assert not walk(ledger, subjects[-1], max_depth=11).cut


def test_data_from_outside_is_a_source_once_a_named_stage_cleared_it():
    ledger = Ledger()
    ledger.judge(DATA, stage="scan")
    ledger.make(MODEL, DATA)
    assert faults(walk(ledger, MODEL)) == {Fault.MISSING}
    chain = walk(ledger, MODEL, admitting={"scan": ""})
    assert not chain.problems
    assert chain.sources[0].origin is Origin.ADMISSION


def test_a_verdict_that_only_walked_a_chain_admits_nothing():
    ledger = Ledger()
    ledger.judge(DATA, published=False)
    ledger.make(MODEL, DATA)
    assert faults(walk(ledger, MODEL)) == {Fault.MISSING}


def test_an_admission_by_a_key_that_no_longer_counts_admits_nothing():
    ledger = Ledger()
    ledger.judge(DATA)
    ledger.make(MODEL, DATA)
    ledger.change(0, objection="key expired")
    (problem,) = walk(ledger, MODEL).problems
    assert (problem.fault, problem.entry) == (Fault.KEY, 0)
    ledger.judge(DATA)  # by another key, and too late
    assert faults(walk(ledger, MODEL)) == {Fault.DISORDERED}


def test_a_verdict_that_no_purpose_asks_for_admits_nothing():
    ledger = Ledger()
    ledger.judge(DATA, configured="with a list of my own")
    ledger.make(MODEL, DATA)
    assert not walk(ledger, MODEL).problems
    ledger.change(0, required=False)
    assert faults(walk(ledger, MODEL)) == {Fault.MISSING}


def test_an_admission_is_about_every_digest():
    ledger = Ledger()
    ledger.judge(replace(DATA, sha256=digest("other")))
    ledger.make(MODEL, DATA)
    assert faults(walk(ledger, MODEL)) == {Fault.MISSING}


def test_a_verdict_that_does_not_clear_admits_nothing():
    ledger = Ledger()
    ledger.judge(DATA, Verdict.INCONCLUSIVE, stage="scan")
    ledger.make(MODEL, DATA)
    assert faults(walk(ledger, MODEL, admitting={"scan": ""})) == {Fault.MISSING}


def test_an_import_that_is_logged_after_the_admission_changes_nothing():
    ledger = Ledger()
    ledger.judge(DATA)
    ledger.make(MODEL, DATA)
    ledger.make(DATA)
    assert not walk(ledger, MODEL).problems


def test_the_same_work_done_twice_is_no_fork():
    ledger = trained()
    ledger.make(MODEL, DATA, activity="train")
    ledger.make(DATA)
    assert not walk(ledger, MODEL).problems


# Links that do not hold


def test_swapped_data_is_found_by_its_place():
    ledger = trained()
    other = subject("data", "poisoned")
    ledger.edit(1, made_from=(other,))
    (problem,) = walk(ledger, MODEL).problems
    assert problem.fault is Fault.SWAPPED
    assert problem.entry == 1
    assert problem.expected == f"merkleRoot:{DATA.digest.hex}"
    assert problem.found == f"merkleRoot:{other.digest.hex}"


@pytest.mark.parametrize(
    ("field", "name"), [("sha256", "sha256"), ("dir_hash", "dirHash1"), ("digest", "merkleRoot")]
)
def test_every_digest_must_agree(field, name):
    ledger = trained()
    value = digest("other").hex if field == "dir_hash" else digest("other")
    ledger.edit(1, made_from=(replace(DATA, **{field: value}),))
    (problem,) = walk(ledger, MODEL).problems
    assert problem.fault is Fault.SWAPPED
    assert problem.found == f"{name}:{digest('other').hex}"


def test_every_digest_must_agree_for_the_second_user_too():
    ledger = Ledger()
    left, right = subject("l"), subject("r")
    ledger.make(DATA)
    ledger.make(left, DATA)
    ledger.make(right, replace(DATA, sha256=digest("other")))
    ledger.make(MODEL, left, right)
    chain = walk(ledger, MODEL)
    assert [(p.fault, p.entry) for p in chain.problems] == [(Fault.SWAPPED, 2)]
    assert [edge.sound for edge in chain.edges] == [True, True, True, False]


def test_a_missing_statement_is_found():
    ledger = trained()
    ledger.drop(0)
    (problem,) = walk(ledger, MODEL).problems
    assert problem.fault is Fault.MISSING
    assert problem.entry == 1
    assert problem.subject == DATA.digest


def test_a_subject_that_nobody_made_is_missing():
    (problem,) = walk(Ledger(), MODEL).problems
    assert (problem.fault, problem.subject) == (Fault.MISSING, MODEL.digest)


def test_a_fork_is_found():
    ledger = trained()
    ledger.make(MODEL, subject("elsewhere"), activity="train")
    (problem,) = walk(ledger, MODEL).problems
    assert problem.fault is Fault.FORKED
    assert problem.entry == 2
    assert DATA.digest.hex in problem.expected


def test_laundering_a_model_as_an_import_is_a_fork():
    ledger = trained()
    ledger.make(MODEL)
    assert faults(walk(ledger, MODEL)) == {Fault.FORKED}


def test_a_fork_by_a_key_that_no_longer_counts_is_none():
    ledger = trained()
    ledger.make(MODEL, subject("elsewhere"))
    ledger.change(2, objection="key expired")
    assert not walk(ledger, MODEL).problems


def test_two_heads_of_one_epoch_are_a_fork():
    ledger = trained()
    ledger.serve(MODEL, epoch=1)
    ledger.serve(subject("model", "2"), epoch=2)
    assert not walk(ledger, MODEL).problems
    ledger.serve(subject("model", "3"), epoch=2)
    (problem,) = walk(ledger, MODEL).problems
    assert problem.fault is Fault.FORKED
    assert "two heads of epoch 2" in problem.message


def test_a_head_by_a_key_that_no_longer_counts_is_no_fork():
    ledger = trained()
    ledger.serve(MODEL, epoch=1)
    ledger.serve(subject("model", "2"), epoch=1)
    ledger.change(3, objection="key expired")
    assert not walk(ledger, MODEL).problems


def test_something_made_from_itself_is_found():
    ledger = trained()
    ledger.edit(0, made_from=(MODEL,))
    assert Fault.CYCLIC in faults(walk(ledger, MODEL))
    ledger.edit(0, made_from=(DATA,))
    assert Fault.CYCLIC in faults(walk(ledger, MODEL))


def test_an_input_that_was_logged_after_its_product_is_found():
    ledger = trained()
    ledger.change(0, index=7)
    (problem,) = walk(ledger, MODEL).problems
    assert problem.fault is Fault.DISORDERED
    assert problem.entry == 1


def test_an_admission_that_came_after_the_use_is_found():
    ledger = Ledger()
    ledger.make(MODEL, DATA)
    ledger.judge(DATA)
    assert faults(walk(ledger, MODEL)) == {Fault.DISORDERED}


def test_a_clock_that_was_set_back_is_found_and_a_slow_one_is_not():
    ledger = trained()
    used = ledger.entries[1].statement.issued
    ledger.edit(0, issued=used + timedelta(minutes=4))
    assert not walk(ledger, MODEL).problems
    ledger.edit(0, issued=used + timedelta(minutes=6))
    (problem,) = walk(ledger, MODEL).problems
    assert problem.fault is Fault.DISORDERED
    assert "clock" in problem.message


@pytest.mark.parametrize("entry", [0, 1])
def test_an_expired_key_is_found(entry):
    ledger = trained()
    ledger.change(entry, objection="key 'old' expired on 2026-01-01")
    (problem,) = walk(ledger, MODEL).problems
    assert problem.fault is Fault.KEY
    assert problem.entry == entry
    assert "expired" in problem.message


def test_a_sound_statement_beside_an_expired_one_will_do():
    ledger = Ledger()
    ledger.make(DATA, key="old")
    ledger.make(DATA, key="new")
    ledger.make(MODEL, DATA)
    ledger.change(0, objection="key 'old' expired")
    assert not walk(ledger, MODEL).problems


def test_the_wrong_key_is_named():
    ledger = trained()
    statement = ledger.entries[0].statement
    ledger.drop(0)
    ledger.rejected.append(
        Rejected(index=0, digest=digest("x"), reason="key 'intern' is not trusted for production")
    )
    payload = base64.b64encode(write_statement(statement)).decode()
    ledger.bundles[0] = json.dumps({"dsseEnvelope": {"payload": payload}}).encode()
    (problem,) = walk(ledger, MODEL).problems
    assert problem.fault is Fault.KEY
    assert "ledger entry 0" in problem.message
    assert "'intern'" in problem.message


@pytest.mark.parametrize("junk", [b"", b"{}", b"[1]", b'{"dsseEnvelope": 3}', b"\xff"])
def test_junk_in_the_ledger_explains_nothing_and_breaks_nothing(junk):
    ledger = trained()
    ledger.drop(0)
    ledger.rejected.append(Rejected(index=0, digest=digest("x"), reason="no receipt"))
    ledger.bundles[0] = junk
    assert faults(walk(ledger, MODEL)) == {Fault.MISSING}


def test_an_untrusted_claim_beside_a_trusted_one_is_no_fault():
    ledger = trained()
    ledger.rejected.append(Rejected(index=9, digest=digest("x"), reason="unknown key"))
    payload = base64.b64encode(write_statement(ledger.entries[0].statement)).decode()
    ledger.bundles[9] = json.dumps({"dsseEnvelope": {"payload": payload}}).encode()
    assert not walk(ledger, MODEL).problems


def test_an_older_valid_receipt_does_not_speak_for_newer_bytes():
    ledger = trained()
    newer = subject("model", "2")
    (problem,) = walk(ledger, newer).problems
    assert problem.fault is Fault.SWAPPED
    assert problem.expected == f"merkleRoot:{MODEL.digest.hex}"


def test_a_copy_of_a_receipt_is_heard_once_where_it_was_first_logged():
    ledger = trained()
    ledger.entries.append(replace(ledger.entries[0], index=5))
    history = History(ledger)
    assert [maker.record.index for maker in history.makers[DATA.digest]] == [0]


def test_what_is_on_hold_is_found_until_it_is_released():
    ledger = trained()
    ledger.tell(DATA, HELD)
    (problem,) = walk(ledger, MODEL).problems
    assert (problem.fault, problem.entry) == (Fault.HELD, 2)
    ledger.change(2, objection="key expired")  # does not silence a "no"
    assert faults(walk(ledger, MODEL)) == {Fault.HELD}
    ledger.tell(DATA, RELEASED)
    assert not walk(ledger, MODEL).problems
    ledger.change(3, objection="key expired")  # does silence a "yes"
    assert faults(walk(ledger, MODEL)) == {Fault.HELD}


def test_a_hold_on_something_else_is_no_concern():
    ledger = trained()
    ledger.tell(subject("other"), HELD)
    assert not walk(ledger, MODEL).problems


def test_a_clearance_that_was_taken_back_is_found():
    ledger = Ledger()
    ledger.make(DATA)
    cleared = ledger.judge(DATA, stage="scan")
    ledger.make(MODEL, DATA, cleared_by=(cleared.digest,))
    ledger.judge(DATA, Verdict.BLOCK, stage="scan", configured="stricter")
    assert not walk(ledger, MODEL).problems  # another question
    ledger.judge(DATA, Verdict.BLOCK, stage="scan")
    assert faults(walk(ledger, MODEL)) == {Fault.HELD}
    ledger.judge(DATA, stage="scan")
    assert not walk(ledger, MODEL).problems


def test_blocked_data_that_was_used_without_a_clearance_is_found():
    ledger = trained()
    ledger.judge(DATA, Verdict.BLOCK, stage="scan")
    assert faults(walk(ledger, MODEL)) == {Fault.HELD}
    ledger.judge(DATA, stage="scan")
    assert not walk(ledger, MODEL).problems


def test_a_block_is_not_lifted_by_a_key_that_no_longer_counts():
    ledger = trained()
    ledger.judge(DATA, Verdict.BLOCK, stage="scan")
    ledger.judge(DATA, stage="scan")
    ledger.change(3, objection="key expired")
    assert faults(walk(ledger, MODEL)) == {Fault.HELD}


def test_an_admission_that_was_taken_back_is_found():
    ledger = Ledger()
    ledger.judge(DATA)
    ledger.make(MODEL, DATA)
    ledger.judge(DATA, Verdict.BLOCK)
    assert Fault.HELD in faults(walk(ledger, MODEL))
    ledger.judge(DATA)
    assert not walk(ledger, MODEL).problems


@pytest.mark.parametrize("verdict", [Verdict.BLOCK, Verdict.INCONCLUSIVE])
def test_every_purpose_may_take_an_admission_back(verdict):
    ledger = Ledger()
    ledger.judge(DATA)
    scanned = ledger.judge(DATA, stage="scan")
    ledger.make(MODEL, DATA, cleared_by=(scanned.digest,))
    ledger.judge(DATA, verdict, configured="stricter")
    ledger.judge(DATA)  # the lenient one cannot lift what the strict one said
    assert faults(walk(ledger, MODEL)) == {Fault.HELD}
    ledger.change(3, required=False)  # nobody asked
    assert not walk(ledger, MODEL).problems
    ledger.change(3, required=True)
    ledger.judge(DATA, configured="stricter")
    assert not walk(ledger, MODEL).problems


def test_a_block_before_the_admission_stands_and_a_doubt_does_not():
    ledger = Ledger()
    ledger.judge(DATA, Verdict.BLOCK, configured="stricter")
    ledger.judge(DATA)
    scanned = ledger.judge(DATA, stage="scan")
    ledger.make(MODEL, DATA, cleared_by=(scanned.digest,))
    assert faults(walk(ledger, MODEL)) == {Fault.HELD}
    ledger.edit(0, verdict=Verdict.INCONCLUSIVE)
    assert not walk(ledger, MODEL).problems


def test_a_yes_by_a_key_that_no_longer_counts_does_not_lift_a_no_about_an_admission():
    ledger = Ledger()
    ledger.judge(DATA)
    scanned = ledger.judge(DATA, stage="scan")
    ledger.make(MODEL, DATA, cleared_by=(scanned.digest,))
    ledger.judge(DATA, Verdict.BLOCK)
    ledger.judge(DATA)
    assert not walk(ledger, MODEL).problems
    ledger.change(4, objection="key expired")
    assert faults(walk(ledger, MODEL)) == {Fault.HELD}


def test_a_production_rests_on_receipts_that_are_there_and_came_before():
    ledger = Ledger()
    ledger.make(DATA)
    cleared = ledger.judge(DATA, stage="scan")
    ledger.make(MODEL, DATA, cleared_by=(cleared.digest,))
    assert not walk(ledger, MODEL).problems
    ledger.change(1, index=8)
    assert faults(walk(ledger, MODEL)) == {Fault.DISORDERED}
    ledger.drop(8)
    assert faults(walk(ledger, MODEL)) == {Fault.MISSING}
    # Made under rules that have changed since: it was there.
    rejected = Rejected(index=1, digest=cleared.digest, reason="other rules", earlier=cleared)
    ledger.rejected.append(rejected)
    assert not walk(ledger, MODEL).problems
    # Logged again later: it was there all the same.
    ledger.rejected.append(replace(rejected, index=9, earlier=replace(cleared, index=9)))
    assert not walk(ledger, MODEL).problems
    ledger.rejected[:] = [replace(rejected, index=8, earlier=replace(cleared, index=8))]
    assert faults(walk(ledger, MODEL)) == {Fault.DISORDERED}


def test_a_production_cannot_rest_on_what_the_policy_does_not_listen_to():
    ledger = Ledger()
    ledger.make(DATA)
    ledger.make(MODEL, DATA, cleared_by=(digest("junk"),))
    ledger.rejected.append(Rejected(index=0, digest=digest("junk"), reason="it is not JSON"))
    (problem,) = walk(ledger, MODEL).problems
    assert (problem.fault, problem.entry) == (Fault.KEY, 1)
    assert "it is not JSON" in problem.message


@pytest.mark.parametrize("verdict", [Verdict.ALLOW, Verdict.BLOCK])
def test_a_derivation_rests_on_a_quarantine_of_its_parent(verdict):
    ledger = Ledger()
    ledger.make(DATA)
    said = ledger.judge(DATA, verdict, stage="scan")
    ledger.set_aside(DATA, MODEL, verdict=said.digest)
    assert faults(walk(ledger, MODEL)) == {Fault.SWAPPED}
    ledger.edit(2, verdict_receipt=digest("nothing"))
    assert faults(walk(ledger, MODEL)) == {Fault.MISSING}


def test_a_derivation_cannot_rest_on_a_verdict_that_came_later():
    ledger = Ledger()
    ledger.make(DATA)
    said = ledger.judge(DATA, Verdict.QUARANTINE, stage="scan")
    ledger.set_aside(DATA, MODEL, verdict=said.digest)
    assert not walk(ledger, MODEL).problems
    ledger.change(1, index=8)
    assert faults(walk(ledger, MODEL)) == {Fault.DISORDERED}


def test_a_derivation_may_rest_on_a_verdict_under_rules_that_have_changed_since():
    ledger = Ledger()
    ledger.make(DATA)
    said = ledger.judge(DATA, Verdict.QUARANTINE, stage="scan")
    ledger.set_aside(DATA, MODEL, verdict=said.digest)
    ledger.drop(1)
    assert faults(walk(ledger, MODEL)) == {Fault.MISSING}
    rejected = Rejected(index=1, digest=said.digest, reason="other rules")
    ledger.rejected[:] = [rejected]  # anybody's words
    assert faults(walk(ledger, MODEL)) == {Fault.KEY}
    ledger.rejected[:] = [replace(rejected, earlier=said)]
    assert not walk(ledger, MODEL).problems


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"verdict": Verdict.BLOCK}, Fault.SWAPPED),
        ({"subject": subject("other")}, Fault.SWAPPED),
        ({"index": 8}, Fault.DISORDERED),
        ({"stage": "validate"}, Fault.KEY),
        ({}, None),
    ],
    ids=["verdict", "parent", "order", "stage", "sound"],
)
@pytest.mark.parametrize("earlier", [False, True], ids=["today's rules", "earlier rules"])
def test_a_verdict_under_either_rules_must_be_a_quarantine_that_the_key_may_act_on(
    changes, fault, earlier
):
    ledger = Ledger()
    ledger.make(DATA)
    said = ledger.judge(DATA, Verdict.QUARANTINE, stage="scan")
    ledger.set_aside(DATA, MODEL, verdict=said.digest)
    ledger.change(2, may_sign=("quarantine", "scan"))
    if "index" in changes:
        ledger.change(1, **changes)
    else:
        ledger.edit(1, **changes)
    if earlier:
        record = next(one for one in ledger.entries if one.digest == said.digest)
        ledger.entries.remove(record)
        ledger.rejected.append(
            Rejected(index=record.index, digest=said.digest, reason="other rules", earlier=record)
        )
    assert faults(walk(ledger, MODEL)) == ({fault} if fault else set())


def test_a_derivation_cannot_rest_on_the_verdict_about_other_data():
    ledger = Ledger()
    ledger.make(DATA)
    said = ledger.judge(subject("other"), Verdict.QUARANTINE, stage="scan")
    ledger.set_aside(DATA, MODEL, verdict=said.digest)
    assert faults(walk(ledger, MODEL)) == {Fault.SWAPPED}


# Any chain


@st.composite
def histories(draw: st.DrawFn) -> tuple[Ledger, Subject]:
    """Draw a ledger in which each subject was made from some of the earlier ones."""
    ledger, made = Ledger(), []
    for number in range(draw(st.integers(2, 12))):
        one = subject(f"s{number}")
        sources = draw(st.lists(st.sampled_from(made), unique=True)) if made else []
        ledger.make(one, *sources)
        made.append(one)
    return ledger, made[-1]


@given(histories())
@settings(max_examples=100, deadline=None)
def test_what_only_uses_earlier_work_holds(drawn):
    ledger, top = drawn
    chain = walk(ledger, top)
    assert not chain.problems
    assert all(edge.sound for edge in chain.edges)


@given(histories(), st.data())
@settings(max_examples=200, deadline=None)
def test_any_single_changed_edge_is_found(drawn, data):
    ledger, top = drawn
    links = [link for link in walk(ledger, top).links.values() if link.inputs]
    if not links:
        return
    link = data.draw(st.sampled_from(links))
    at = data.draw(st.integers(0, len(link.inputs) - 1))
    field = data.draw(st.sampled_from(["digest", "sha256", "dir_hash"]))
    wrong = digest(f"changed {data.draw(st.integers(0, 5))}")
    value = wrong.hex if field == "dir_hash" else wrong
    inputs = list(link.inputs)
    inputs[at] = replace(inputs[at], **{field: value})
    ledger.edit(link.record.index, made_from=tuple(inputs))
    chain = walk(ledger, top)
    assert any(problem.entry == link.record.index for problem in chain.problems)
    assert faults(chain) == {Fault.SWAPPED}


@given(histories(), st.data())
@settings(max_examples=100, deadline=None)
def test_any_statement_that_is_lost_or_moved_is_found(drawn, data):
    ledger, top = drawn
    links = list(walk(ledger, top).links.values())
    link = data.draw(st.sampled_from(links))
    if link.subject != top and data.draw(st.booleans()):
        ledger.change(link.record.index, index=10_000)
        assert faults(walk(ledger, top)) == {Fault.DISORDERED}
    else:
        ledger.drop(link.record.index)
        assert faults(walk(ledger, top)) == {Fault.MISSING}


def test_an_edge_to_something_later_is_a_cycle_or_out_of_order():
    ledger, subjects = chain_of(5)
    ledger.edit(1, made_from=(subjects[3],))
    assert faults(walk(ledger, subjects[4])) == {Fault.CYCLIC, Fault.DISORDERED}


# The graph


def test_the_graph_shows_what_is_wrong_and_keeps_it_when_it_is_cut():
    ledger, subjects = chain_of(200)
    ledger.change(0, objection="key expired")
    graph = graph_of(walk(ledger, subjects[-1]))
    assert len(graph.nodes) == 200
    assert graph.nodes[0].label.startswith("s199")
    drawn = graph.to_json()
    assert len(drawn["nodes"]) == MAX_NODES
    assert drawn["omitted"] == 140
    assert [node["label"][:3] for node in drawn["nodes"] if node["state"] == "faulty"] == ["s0 "]


def test_digests_are_those_of_the_subjects():
    ledger, model = diamond()
    graph = graph_of(walk(ledger, model))
    assert {Digest(node.id) for node in graph.nodes} == set(walk(ledger, model).links)
    assert len(graph.arrows) == 5
