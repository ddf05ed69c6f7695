//! `fold`: all records of a stream come to one value, when it ends.

use std::marker::PhantomData;

use crate::bundle::{Bundle, Record};
use crate::pipe::Pipe;
use crate::stage::{Emit, Keeps, Stage};
use crate::stream::Stream;
use crate::sync::{Mutex, lock};
use crate::time::{Generation, Punctuation, Time};

/// The stage of a fold: a value on each kernel, merged at the end.
pub struct FoldStage<In, P, V, F, M> {
    pipe: P,
    start: V,
    step: F,
    merge: M,
    input: PhantomData<fn(In)>,
}

impl<In, P, V, F, M> Stage for FoldStage<In, P, V, F, M>
where
    In: Record,
    P: Pipe<In>,
    V: Record,
    F: Fn(&mut V, P::Out) + Clone + Send + Sync + 'static,
    M: Fn(&mut V, V) + Send + Sync + 'static,
{
    type In = In;
    type Out = V;
    /// The chain's own copy, and what this kernel has come to.
    type Local = (P, F, Mutex<V>);
    type Part = V;

    const ABOUT: &'static str = "a value on each kernel, merged at the end";
    const KEEPS: Keeps = Keeps::More;

    fn local(&self, _: usize) -> Self::Local {
        (self.pipe.clone(), self.step.clone(), Mutex::new(self.start.clone()))
    }

    fn bundle(&self, (pipe, step, value): &Self::Local, _: Generation, bundle: Bundle<In>, _: Emit<'_, V>) {
        let mut folded = std::mem::replace(&mut *lock(value), self.start.clone());
        bundle.for_each(|time, record| pipe.push(time, record, &mut |_, record| step(&mut folded, record)));
        *lock(value) = folded;
    }

    fn seal(&self, locals: &[Self::Local], punctuation: Punctuation) -> Vec<V> {
        if punctuation.watermark < Time::MAX {
            return Vec::new();
        }
        let mut total = self.start.clone();
        for (_, _, value) in locals {
            let value = std::mem::replace(&mut *lock(value), self.start.clone());
            (self.merge)(&mut total, value);
        }
        vec![total]
    }

    fn part(&self, _: &Self::Local, total: V, emit: Emit<'_, V>) {
        emit(Bundle::from(vec![total]));
    }
}

impl<I: Record, P: Pipe<I>> Stream<I, P> {
    /// One record, when the stream has ended: `step` takes in record after record, on each kernel from `start`, and `merge`
    /// joins what the kernels have come to. `start` must change nothing when it is merged.
    pub fn fold<V, F, M>(self, start: V, step: F, merge: M) -> Stream<V>
    where
        V: Record,
        F: Fn(&mut V, P::Out) + Clone + Send + Sync + 'static,
        M: Fn(&mut V, V) + Send + Sync + 'static,
    {
        self.stage("fold", |pipe, _| FoldStage { pipe, start, step, merge, input: PhantomData })
    }
}
