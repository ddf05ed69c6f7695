//! `materialize`: the end of a chain, as bundles that any number of stages and sinks can read.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::bundle::{Bundle, Record, Times};
use crate::pipe::Pipe;
use crate::stage::{Emit, Stage};
use crate::stream::Stream;
use crate::time::{Generation, Punctuation, Time};

/// Records of a bundle that comes of a bundle, at most.
const ROWS: usize = 4096;

/// The stage of a chain that ends in nothing but bundles.
pub struct EmitStage<In, P> {
    pipe: P,
    /// Whether records carry their event times on.
    timed: bool,
    /// Whether most records of the last bundle came out: then there is room for as many as go in.
    keeps: AtomicBool,
    input: PhantomData<fn(In)>,
}

impl<In, P> EmitStage<In, P> {
    /// Runs `pipe`; `timed` tells whether what comes out is to have an event time.
    pub fn new(pipe: P, timed: bool) -> Self {
        Self { pipe, timed, keeps: AtomicBool::new(false), input: PhantomData }
    }
}

impl<In: Record, P: Pipe<In>> Stage for EmitStage<In, P>
where
    P::Out: Record,
{
    type In = In;
    type Out = P::Out;
    type Local = P;
    type Part = ();

    /// What comes out is in the order of what goes in, as far as that has one.
    const ORDERED: bool = true;

    fn local(&self, _: usize) -> P {
        self.pipe.clone()
    }

    fn bundle(&self, pipe: &P, _: Generation, bundle: Bundle<In>, emit: Emit<'_, P::Out>) {
        let len = bundle.len();
        let room = if self.keeps.load(Ordering::Relaxed) { len.min(ROWS) } else { 0 };
        let mut records = Vec::with_capacity(room);
        let mut times = Vec::with_capacity(if self.timed { room } else { 0 });
        let mut given = 0;
        let mut give = |records: &mut Vec<P::Out>, times: &mut Vec<Time>| {
            given += records.len();
            let times = if self.timed { Times::Each(std::mem::take(times)) } else { Times::Same(Time::MIN) };
            emit(Bundle::from(std::mem::take(records)).with_times(times));
        };
        bundle.for_each(|time, record| {
            pipe.push(time, record, &mut |time, record| {
                records.push(record);
                if self.timed {
                    times.push(time);
                }
                if records.len() == ROWS {
                    give(&mut records, &mut times);
                }
            });
        });
        if !records.is_empty() {
            give(&mut records, &mut times);
        }
        self.keeps.store(given * 2 > len, Ordering::Relaxed);
    }

    fn seal(&self, _: &[P], _: Punctuation) -> Vec<()> {
        Vec::new()
    }

    fn part(&self, _: &P, (): (), _: Emit<'_, P::Out>) {}
}

impl<I: Record, P: Pipe<I>> Stream<I, P>
where
    P::Out: Record,
{
    /// Ends the chain here: what comes before runs in one loop, what comes after in another, and what is between lies
    /// in bundles. Rarely of use by itself, but it forgets the chain's type.
    pub fn materialize(self) -> Stream<P::Out> {
        let timed = self.timed;
        self.stage("materialize", move |pipe, _| EmitStage::new(pipe, timed))
    }
}
