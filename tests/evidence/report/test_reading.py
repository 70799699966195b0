"""What a report says in words is what its numbers are."""

from support.comparison import record, records

from detassign.evidence.report.analysis import analyse
from detassign.evidence.report.reading import method, reading


def said(runs, title, **named):
    sections = {section.title: " ".join(section.sentences) for section in reading(analyse(runs, {}, **named))}
    return sections.get(title, "")


def test_three_seeds_are_told_that_they_cannot_be_significant():
    runs = records("fcos", "dw", "atss")
    assert "No difference in AP to fcos, at 5 % after Holm's correction for 2 differences." in said(
        runs, "What is significant"
    )
    told = said(runs, "What is not")
    assert "dw has 5.0 AP more than fcos" in told
    assert "With 3 seeds no p below 0.25 is possible in the exact test" in told
    assert "7 are the fewest with which one of 2 differences can be significant" in told
    assert "Not significant does not mean equal" in told


def test_intervals_that_leave_out_zero_are_corrected_too():
    """9.8, 10 and 10.2 AP have t 86.6 and p 1.3e-4, three times that is below 5 %; 0.7, 1 and 1.4 have t 5.1 and p 0.036."""
    gains = {"fcos": [0.0, 0.0, 0.0], "dw": [0.098, 0.1, 0.102], "atss": [0.007, 0.010, 0.014], "paa": [-0.2, 0.1, 0.1]}
    runs = [record(name, seed, 0.3 + gain) for name, row in gains.items() for seed, gain in enumerate(row)]
    told = said(runs, "What is not")
    assert "Taken one by one, the interval leaves out 0 for dw, atss." in told
    assert "Holm's correction of their t tests leaves dw (p <0.001)." in told
    alone = said([run for run in runs if run["assigner"] in ("fcos", "atss", "paa")], "What is not")
    assert "the interval leaves out 0 for atss. " in alone
    assert "of their t tests leaves none." in alone


def test_seven_seeds_can_be_significant():
    runs = records("fcos", "dw", seeds=7)
    told = said(runs, "What is significant")
    assert told.startswith("dw has 5.0 AP more than fcos, 95 % [+")
    assert "p 0.016, after Holm's correction 0.016" in told
    assert said(runs, "What is not") == ""


def test_one_seed_is_a_demonstration():
    runs = records("fcos", "dw", seeds=1)
    assert "One seed is a demonstration, not a ranking" in said(runs, "What was compared")
    assert "Two seeds at least would show how much differences vary" in said(runs, "How many seeds it would take")
    assert "95 %" not in said(runs, "What is not")
    assert "interval" not in said(runs, "What is not")


def test_costs_are_ratios_to_the_baseline():
    runs = [record("fcos", seconds_per_step=0.5), record("dw", seconds_per_step=0.6, peak_memory_bytes=2**29)]
    told = said(runs, "What it cost")
    assert "1.20 of the time of a step (0.6 s against 0.5 s)" in told
    assert "0.50 of the peak memory (512 MiB against 1024 MiB) of fcos" in told


def test_what_is_not_like_for_like_is_told():
    other = {"device": "a GPU", "precision": "bfloat16", "versions": {"torch": "2.13.0"}}
    runs = [record("fcos"), record("dw", **other), record("dw", 1)]
    told = said(runs, "What is not like for like")
    assert "device: a processor (fcos, dw); a GPU (dw)." in told
    assert "precision: float32 (fcos, dw); bfloat16 (dw)." in told
    assert "versions.torch: 2.11.0 (fcos, dw); 2.13.0 (dw)." in told
    assert "Seeds (fcos: 0; dw: 0, 1)" in told
    assert said(records("fcos", "dw"), "What is not like for like") == ""


def test_a_single_assigner_is_compared_with_nothing():
    assert [section.title for section in reading(analyse(records("fcos"), {}))] == ["What was compared"]


def test_of_many_rows_the_largest_are_named_and_the_others_counted():
    names = [f"a{index}" for index in range(10)]
    runs = [
        record(name, seed, ap=0.3 + 0.01 * index + 0.001 * seed * (index % 3))
        for index, name in enumerate(names)
        for seed in range(3)
    ]
    sections = {section.title: section.sentences for section in reading(analyse(runs, {}))}
    told = sections["What is not"]
    assert [line.split()[0] for line in told[:6]] == ["a4", "a5", "a6", "a7", "a8", "a9"]
    assert told[6] == "So are 3 more, with smaller differences, in the table."
    assert any("a1, a2, a3, a4, a5, a6 and 3 more. If differences" in line for line in told)
    assert sections["How many seeds it would take"][0].startswith("From 2 to ")
    assert sections["What it cost"][-1] == "3 more are nearer to their baseline in time."


def test_the_method_names_the_interval_that_was_used():
    few, many = (method(analyse([record(seed=0, ap=0.3)] if n == 1 else runs(n), {})) for n in (2, 20))
    assert any(sentence.startswith("Intervals are Student's t") for sentence in few)
    assert any("BCa bootstraps" in sentence for sentence in many)


def runs(count):
    return [{**record(ap=0.3 + 0.001 * (seed % 7)), "seed": seed} for seed in range(count)]
