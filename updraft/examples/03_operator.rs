//! The middle level: an operator of one's own, between operators of the high level. It passes on no more than so many records
//! of a key in a second, and tells when the second is over how many it has held back.
//!
//! `cargo run --release --example 03_operator`

use std::collections::BTreeMap;

use serde::Serialize;
use updraft::prelude::*;

/// Milliseconds, who.
type Call = (i64, &'static str);

const SECOND: i64 = 1_000_000;

/// What comes out.
#[derive(Clone)]
enum Passed {
    Call(Call),
    HeldBack { second: i64, who: String, calls: u64 },
}

/// Counts the calls of each key and second. An instance on each kernel sees the keys that it owns.
#[derive(Clone)]
struct Throttle {
    limit: u64,
    seen: BTreeMap<(i64, String), u64>,
}

impl Operator<(String, Call)> for Throttle {
    type Out = Passed;

    fn bundle(&mut self, bundle: Bundle<(String, Call)>, out: &mut Outbox<'_, Passed>) {
        let mut passed = Vec::new();
        for (time, (who, call)) in bundle.timed() {
            let second = time.as_micros().div_euclid(SECOND);
            let seen = self.seen.entry((second, who.clone())).or_default();
            *seen += 1;
            if *seen <= self.limit {
                passed.push(Passed::Call(*call));
            }
            if *seen == 1 {
                out.set_timer(Time((second + 1) * SECOND));
            }
        }
        out.emit(passed);
    }

    fn timer(&mut self, at: Time, out: &mut Outbox<'_, Passed>) {
        let over = at.as_micros() / SECOND;
        let later = self.seen.split_off(&(over, String::new()));
        let done = std::mem::replace(&mut self.seen, later);
        let held_back = done.into_iter().filter(|(_, seen)| *seen > self.limit);
        out.emit(
            held_back.map(|((second, who), seen)| Passed::HeldBack { second, who, calls: seen - self.limit }).collect(),
        );
    }
}

#[derive(Clone, Serialize)]
struct News {
    what: String,
}

fn main() -> Result<(), updraft::JobError> {
    let calls = (0..3_000).map(|n| (n, if n % 10 == 0 { "rare" } else { "busy" })).collect::<Vec<Call>>();
    let job = Job::new("throttled");
    job.source("calls", Memory::new(calls))
        .timestamps(|call| Time::from_millis(call.0), Watermarks::monotonic())
        .stream()
        .filter(|call| call.0 % 2 == 0)
        .key_by(|call| call.1.to_string())
        .shuffle()
        .operator("throttle", Throttle { limit: 300, seen: BTreeMap::new() })
        .flat_map(|passed| match passed {
            Passed::Call((millis, who)) if millis % 1_000 == 0 => Some(format!("{millis} ms: a call of {who}")),
            Passed::Call(_) => None,
            Passed::HeldBack { second, who, calls } => {
                Some(format!("second {second}: {calls} calls of {who} held back"))
            }
        })
        .map(|what| News { what })
        .sink("news", Stdout::csv());
    job.run()?;
    Ok(())
}
