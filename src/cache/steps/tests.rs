//! Two builds: the first writes a table into its index, the second reads it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

mod misses;

use super::*;
use crate::cache::index_format::{
    Annotations, Layer, LayerResult, NO_PARENT, Record, StepLayer, Time,
};

/// A build of an image, a context, `COPY`, `RUN make` upon it, and `RUN test` upon that.
struct Project {
    session: &'static str,
    make: &'static str,
}

const PROJECT: Project = Project {
    session: "a",
    make: "make",
};

const STEPS: [&str; 3] = ["[2/4] COPY . .", "[3/4] RUN make", "[4/4] RUN test"];

fn vertex(project: &Project, name: &str) -> Digest {
    Digest::sha256(format!("{name} in {}", project.session))
}

fn define(steps: &BuildSteps, project: &Project) {
    let key = |text: &str| StepKey::from_definition(&Digest::sha256(text));
    let definition = |name: &str, key, inputs: &[&str], kind| StepDefinition {
        vertex: vertex(project, name),
        key,
        inputs: inputs.iter().map(|input| vertex(project, input)).collect(),
        kind,
        ignores_cache: false,
    };
    let [copy, make, test] = STEPS;
    let chain = format!("copy, {}", project.make);
    steps.define(vec![
        definition("image", key("image"), &[], StepKind::Image),
        definition("context", key("context"), &[], StepKind::Content),
        definition(copy, key("copy"), &["image", "context"], StepKind::Step),
        definition(make, key(&chain), &[copy], StepKind::Step),
        definition(
            test,
            key(&format!("{chain}, test")),
            &[make],
            StepKind::Step,
        ),
    ]);
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn time(seconds: i64, millis: i64) -> Time {
    let moment = at(seconds) + SignedDuration::from_millis(millis);
    Time::parse(&moment.to_string()).unwrap()
}

fn ran(started: i64, completed: i64) -> VertexTimes {
    VertexTimes {
        started: Some(at(started)),
        completed: Some(at(completed)),
        ..VertexTimes::default()
    }
}

/// A result that was loaded.
fn cached(when: i64) -> VertexTimes {
    VertexTimes {
        cached: true,
        ..ran(when, when + 1)
    }
}

/// A step that nobody has asked for.
fn not_asked_for(when: i64) -> VertexTimes {
    VertexTimes {
        cached: true,
        ..ran(when, when)
    }
}

fn record(steps: &BuildSteps, project: &Project, times: [VertexTimes; 3]) {
    for source in ["image", "context"] {
        steps.record(vertex(project, source), source, ran(-2, -1));
    }
    for (name, times) in STEPS.into_iter().zip(times) {
        steps.record(vertex(project, name), name, times);
    }
}

/// The first build: three steps of 10, 20 and 30 seconds, the layers of the first `exported` of them.
fn index(mode: Mode, exported: usize) -> CacheConfig {
    let steps = BuildSteps::default();
    define(&steps, &PROJECT);
    let times = [ran(0, 10), ran(10, 30), ran(30, 60)];
    record(&steps, &PROJECT, times);
    let mut index = described(exported);
    let layers = steps.layers(&index);
    index.steps = steps.table(mode, &layers, None);
    let json = index.to_json();
    crate::cache::index_format::parse(&json).unwrap()
}

/// Layers that were made half a second after their steps began, and results that were kept 5 ms after
/// their ends.
fn described(exported: usize) -> CacheConfig {
    let layer = |(number, began): (i64, i64)| Layer {
        blob: Digest::sha256(number.to_string()),
        parent: if number == 0 { NO_PARENT } else { number - 1 },
        annotations: Some(Annotations {
            media_type: String::new(),
            diff_id: None,
            size: 1,
            created_at: time(began, 500),
        }),
    };
    let result = |(number, ended): (u32, i64)| Record {
        results: vec![LayerResult {
            layer: number,
            created_at: time(ended, 5),
        }],
        digest: number.to_string(),
        ..Record::default()
    };
    CacheConfig {
        layers: (0..).zip([0, 10, 30]).map(layer).take(exported).collect(),
        records: (0..).zip([10, 30, 60]).map(result).take(exported).collect(),
        ..CacheConfig::default()
    }
}

/// The second build, with this index.
fn second(project: &Project, mut index: CacheConfig, times: [VertexTimes; 3]) -> BuildSteps {
    let steps = BuildSteps::default();
    define(&steps, project);
    steps.expect_indexes(1);
    steps.index_loaded(LoadedSteps::Found(KnownIndex::take_from(&mut index)));
    record(&steps, project, times);
    steps
}

const AGAIN: Project = Project {
    session: "b",
    ..PROJECT
};

#[test]
fn cached_steps_save_the_time_that_they_took() {
    let index = index(Mode::Max, 3);
    let steps = second(&AGAIN, index, [cached(0); 3]);
    let summary = steps.summary().unwrap();
    assert_eq!((summary.total, summary.cached, summary.timed), (3, 3, 3));
    assert_eq!(summary.known_saved(), Some(Duration::from_mins(1)));
    assert_eq!(summary.lines(), ["3 of 3 steps cached, saved 1m"]);
    assert!(summary.missed.is_empty());
}

#[test]
fn what_an_index_says_of_cached_steps_is_in_the_next_index_too() {
    let first = index(Mode::Max, 3);
    let table = first.steps.clone().unwrap();
    let steps = second(&AGAIN, first, [cached(0), cached(0), ran(100, 107)]);
    // The layer of the last step is another one, made in this build.
    let mut next = described(3);
    next.layers[2].blob = Digest::sha256("new");
    let annotations = next.layers[2].annotations.as_mut().unwrap();
    annotations.created_at = time(101, 0);
    next.records[2].results[0].created_at = time(107, 1);
    let layers = steps.layers(&next);
    let again = steps.table(Mode::Max, &layers, None).unwrap();
    assert_eq!(again.steps[..4], table.steps[..4]);
    assert_eq!(again.steps[4].millis, Some(7_000));
    assert_ne!(again.steps[4].layer, table.steps[4].layer);

    // A builder that has it all imports nothing: the index whose place is taken says it.
    let steps = BuildSteps::default();
    define(&steps, &AGAIN);
    record(&steps, &AGAIN, [cached(0); 3]);
    let layers = steps.layers(&described(3));
    let table = Arc::new(table);
    let again = steps.table(Mode::Max, &layers, Some(&table));
    assert_eq!(again.as_ref(), Some(&*table));
    let summary = steps.summary().unwrap();
    assert_eq!(summary.saved, Duration::from_mins(1));
    assert_eq!(summary.missed, [], "it imports nothing");
}

#[test]
fn each_step_has_its_own_layer_where_that_is_certain() {
    let entries = |index: CacheConfig| index.steps.unwrap().steps;
    let layers = |index| {
        entries(index)
            .iter()
            .map(|step| step.layer)
            .collect::<Vec<_>>()
    };
    let all = layers(index(Mode::Max, 3));
    assert_eq!(all[..2], [StepLayer::Unknown; 2], "sources have none");
    let is_exported = |layer: &&StepLayer| matches!(layer, StepLayer::Exported(_));
    assert_eq!(all.iter().filter(is_exported).count(), 3);
    let less = layers(index(Mode::Min, 2));
    assert_eq!(less[..4], all[..4]);
    assert_eq!(less[4], StepLayer::NotExported);

    // Two steps at once: their layers are told apart by the ends.
    let steps = BuildSteps::default();
    define(&steps, &PROJECT);
    record(&steps, &PROJECT, [ran(0, 10), ran(10, 30), ran(10, 60)]);
    let mut both = described(3);
    let annotations = both.layers[2].annotations.as_mut().unwrap();
    annotations.created_at = time(10, 600);
    let table = steps.table(Mode::Max, &steps.layers(&both), None).unwrap();
    assert_eq!(
        table
            .steps
            .iter()
            .map(|step| step.layer)
            .collect::<Vec<_>>(),
        all
    );

    // A layer that several steps share is nobody's for certain.
    both.layers[1].annotations = None;
    let table = steps.table(Mode::Max, &steps.layers(&both), None).unwrap();
    assert_eq!(table.steps[3].layer, StepLayer::Unknown);
}

#[test]
fn a_step_is_cached_if_it_was_not_made() {
    let (load, unasked) = (cached(0), not_asked_for(0));
    let unloadable = VertexTimes {
        failed: true,
        ..load
    };
    for (seen, keyed, is_cached) in [
        (vec![load], false, true),
        (vec![unasked], false, true),
        (vec![ran(0, 1)], false, false),
        // What it loaded is pulled.
        (vec![load, ran(1, 5)], false, true),
        // It could not be loaded.
        (vec![unloadable, ran(1, 5)], false, false),
        // Somebody asks for it after all.
        (vec![unasked, ran(1, 5)], false, false),
        (vec![ran(0, 1)], true, true),
        (vec![ran(0, 1), load], true, true),
        (vec![ran(0, 1), ran(1, 5)], true, false),
    ] {
        let mut run = StepRun::new("step".into());
        for times in &seen {
            run.update(*times);
        }
        assert_eq!(run.is_cached(keyed), is_cached, "{seen:?}");
    }
}

#[test]
fn only_steps_count_and_only_once() {
    let steps = BuildSteps::default();
    assert_eq!(steps.summary(), None, "nobody watches");
    define(&steps, &PROJECT);
    for name in ["image", "context"] {
        steps.record(vertex(&PROJECT, name), name, ran(0, 5));
    }
    steps.record(Digest::sha256("export"), "exporting to image", ran(0, 5));
    let failed = VertexTimes {
        failed: true,
        ..ran(0, 5)
    };
    for times in [ran(0, 5), ran(0, 5), failed] {
        steps.record(vertex(&PROJECT, STEPS[0]), STEPS[0], times);
    }
    assert_eq!(steps.summary().unwrap().total, 1);
    let layers = steps.layers(&described(0));
    let table = steps.table(Mode::Max, &layers, None).unwrap();
    assert!(
        table.steps.iter().all(|step| step.millis.is_none()),
        "it failed"
    );
}
