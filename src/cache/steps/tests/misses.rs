//! Why steps of the second build ran.

use super::*;

const ALL: [usize; 3] = [0, 1, 2];

fn reasons(steps: &BuildSteps) -> Vec<(String, Option<Reason>)> {
    let missed = steps.summary().unwrap().missed;
    let reason = |missed: Missed| (missed.step, missed.reason);
    missed.into_iter().map(reason).collect()
}

fn missed(steps: [usize; 3], reasons: [Reason; 3]) -> Vec<(String, Option<Reason>)> {
    let names = steps.map(|at| STEPS[at].to_owned());
    names.into_iter().zip(reasons.map(Some)).collect()
}

#[test]
fn other_content_is_found_by_what_is_the_same() {
    use Reason::{Content, ContentBefore};
    let times = [ran(0, 1), ran(1, 2), ran(2, 3)];
    let steps = second(&AGAIN, index(Mode::Max, 3), times);
    let expected = [Content, ContentBefore, ContentBefore];
    assert_eq!(reasons(&steps), missed(ALL, expected));
    let lines = steps.summary().unwrap().lines();
    let expected = [
        "0 of 3 steps cached",
        "not cached: [2/4] COPY . .: its content changed",
        "not cached: 2 steps after these",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn another_command_is_found_by_its_definition() {
    let changed = Project {
        make: "make all",
        ..AGAIN
    };
    let times = [cached(0), ran(1, 2), ran(2, 3)];
    let steps = second(&changed, index(Mode::Max, 3), times);
    let expected = [
        (STEPS[1].to_owned(), Some(Reason::Command)),
        (STEPS[2].to_owned(), Some(Reason::DefinitionBefore)),
    ];
    assert_eq!(reasons(&steps), expected);
    let headline = &steps.summary().unwrap().lines()[0];
    assert_eq!(headline, "1 of 3 steps cached, saved 10.0s");
}

#[test]
fn a_layer_that_is_gone_is_said_of_its_step_and_of_those_above() {
    let index = index(Mode::Max, 3);
    let gone = index.layers[1].blob;
    let times = [cached(0), ran(1, 2), ran(2, 3)];
    for fault in [
        LayerFault::Gone,
        LayerFault::Damaged,
        LayerFault::Unreachable,
    ] {
        let steps = second(&AGAIN, index.clone(), times);
        steps.layer_found(index.layers[0].blob);
        steps.layer_unavailable(gone, fault);
        let expected = [
            (STEPS[1].to_owned(), Some(Reason::Layer(fault))),
            (STEPS[2].to_owned(), Some(Reason::LayerBelow(fault))),
        ];
        assert_eq!(reasons(&steps), expected);
    }
}

#[test]
fn what_was_not_exported_is_said_with_the_mode() {
    let times = [cached(0), cached(0), ran(2, 3)];
    let steps = second(&AGAIN, index(Mode::Min, 2), times);
    let expected = [(STEPS[2].to_owned(), Some(Reason::NotExported("min")))];
    assert_eq!(reasons(&steps), expected);

    // It was exported, and a repair or a failed upload has left it out of the index.
    let mut less = index(Mode::Max, 3);
    less.layers.pop();
    less.records.pop();
    let steps = second(&AGAIN, less, times);
    let expected = [(STEPS[2].to_owned(), Some(Reason::LeftOut))];
    assert_eq!(reasons(&steps), expected);
}

#[test]
fn without_a_usable_index_that_is_the_reason() {
    for (loaded, reason) in [
        (Some(LoadedSteps::Absent), Reason::NoIndex),
        (Some(LoadedSteps::Unusable), Reason::UnusableIndex),
        (None, Reason::LateIndex),
    ] {
        let steps = BuildSteps::default();
        define(&steps, &AGAIN);
        steps.expect_indexes(1);
        if let Some(loaded) = loaded {
            steps.index_loaded(loaded);
        }
        record(&steps, &AGAIN, [ran(0, 1), ran(1, 2), ran(2, 3)]);
        let summary = steps.summary().unwrap();
        assert_eq!(summary.known_saved(), None, "no step was cached");
        // The import itself says in the log that it has no index.
        let late = "no step could be taken from the cache: the cache index did not arrive in time";
        let more: &[&str] = match reason {
            Reason::LateIndex => &[late],
            _ => &[],
        };
        assert_eq!(summary.lines()[0], "0 of 3 steps cached");
        assert_eq!(summary.lines()[1..], *more);
        assert_eq!(
            reasons(&steps),
            missed(ALL, [(); 3].map(|()| reason.clone()))
        );
    }
}

#[test]
fn what_is_not_known_is_not_said() {
    let times = [cached(0), ran(1, 2), ran(2, 3)];
    let nothing = [STEPS[1], STEPS[2]].map(|step| (step.to_owned(), None));
    // An index of BuildKit's own, and one that leaves steps out.
    let stock = CacheConfig {
        steps: None,
        ..index(Mode::Max, 3)
    };
    let mut cut = index(Mode::Max, 3);
    let table = cut.steps.as_mut().unwrap();
    table.truncated = true;
    table.steps.truncate(3);
    // A result that may or may not be there.
    let mut doubtful = index(Mode::Max, 3);
    let table = doubtful.steps.as_mut().unwrap();
    for step in &mut table.steps {
        step.layer = StepLayer::Unknown;
    }
    for index in [stock, cut, doubtful] {
        assert_eq!(reasons(&second(&AGAIN, index, times)), nothing);
    }
    // Nothing that this step takes can have changed.
    let steps = second(&AGAIN, index(Mode::Max, 3), times);
    assert_eq!(reasons(&steps)[0], nothing[0]);
}

#[test]
fn a_builder_that_was_used_before_may_have_other_steps_than_the_index() {
    let copy = Digest::sha256("another copy");
    let more = |steps: &BuildSteps, project: &Project| {
        steps.define(vec![StepDefinition {
            vertex: copy,
            key: StepKey::from_definition(&Digest::sha256("another copy")),
            inputs: vec![vertex(project, STEPS[2]), vertex(project, "context")],
            kind: StepKind::Step,
            ignores_cache: false,
        }]);
    };
    let first = BuildSteps::default();
    define(&first, &PROJECT);
    more(&first, &PROJECT);
    record(&first, &PROJECT, [ran(0, 10), ran(10, 30), ran(30, 60)]);
    first.record(copy, "COPY b", ran(60, 61));
    let mut index = described(3);
    let mut layer = index.layers[2].clone();
    layer.blob = Digest::sha256("another");
    layer.parent = 2;
    layer.annotations.as_mut().unwrap().created_at = time(60, 500);
    index.layers.push(layer);
    let mut result = index.records[2].clone();
    result.results[0] = LayerResult {
        layer: 3,
        created_at: time(61, 5),
    };
    index.records.push(result);
    index.steps = first.table(Mode::Max, &first.layers(&index), None);

    for (asked, reason) in [(false, Reason::ContentOrBefore), (true, Reason::Content)] {
        let steps = second(&AGAIN, index.clone(), [cached(0); 3]);
        more(&steps, &AGAIN);
        steps.record(copy, "COPY b", ran(1, 2));
        if asked {
            steps.layer_found(index.layers[2].blob);
        }
        assert_eq!(reasons(&steps), [("COPY b".to_owned(), Some(reason))]);
    }
}
