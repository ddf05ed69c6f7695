//! What must hold of a snapshot whose records are any bytes whatever: called by the fuzz targets, and over their corpus by
//! `corpus.rs`.

use std::time::Duration;

use updraft_dataflow::aggregate::{count, max, sum};
use updraft_dataflow::pipe::stamped;
use updraft_dataflow::testing::Stored;
use updraft_dataflow::window::{Sliced, WindowStage};
use updraft_dataflow::{Cumulating, Epoch, Generation, Punctuation, Sliding, Stage, Time, Tumbling};

/// A stage goes on from a snapshot with damaged records, or says that it cannot; what it goes on with can be told to the end. The first
/// byte says which windows, the second which record is damaged and how; the others are what it becomes.
pub fn snapshot(input: &[u8]) {
    let Some((&[kind, how], bytes)) = input.split_first_chunk() else { return };
    let span = Duration::from_micros;
    match kind % 3 {
        0 => go_on(&Sliding::of(span(4), span(1)), how, bytes),
        1 => go_on(&Tumbling::of(span(3)), how, bytes),
        _ => go_on(&Cumulating::of(span(6), span(2)), how, bytes),
    }
}

fn go_on(windows: &impl Sliced, how: u8, bytes: &[u8]) {
    let stage = || {
        let pipe = stamped(|(time, _): &(i64, String)| Time(*time));
        let aggregates = (count(), sum(|(time, _): &(i64, String)| *time), max(|(time, _): &(i64, String)| *time));
        WindowStage::<(i64, String), _, _>::new(pipe, |(_, key): &(i64, String)| key.clone(), windows, aggregates, 2)
    };
    let (before, mut stored) = (stage(), Stored::default());
    let locals = [before.local(0), before.local(1)];
    for time in 0..8 {
        let records = vec![(time, format!("key {}", time % 3)), (time, "other".into())];
        before.bundle(&locals[time as usize % 2], Generation(0), records.into(), &mut |_| {});
    }
    stored.take(&before, &locals, Generation(0));
    let records = stored.records().count();
    if let Some(record) = stored.records().nth(usize::from(how >> 2) % records.max(1)) {
        match how & 3 {
            // Other bytes, some of them others, fewer, more.
            0 => record.bytes = bytes.to_vec(),
            1 => record.bytes.iter_mut().zip(bytes).for_each(|(byte, other)| *byte ^= other),
            2 => record.bytes.truncate(bytes.len()),
            _ => record.bytes.extend_from_slice(bytes),
        }
    }
    let after = stage();
    let locals = [after.local(0), after.local(1)];
    let at = |watermark| Punctuation { epoch: Epoch(1), watermark, now: Time(0) };
    if stored.restore(&after, &locals, at(Time(0))).is_err() {
        return;
    }
    for part in after.seal(&locals, at(Time::MAX)) {
        after.part(&locals[0], part, &mut |_| {});
    }
}
