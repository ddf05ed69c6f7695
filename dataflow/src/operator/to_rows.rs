//! `to_rows`: records become columns, a bundle at a time.

use std::marker::PhantomData;

use arrow_array::RecordBatch;

use crate::bundle::{Bundle, Record};
use crate::pipe::Pipe;
use crate::rows::Rows;
use crate::stage::{Emit, Stage};
use crate::stream::Stream;
use crate::time::{Generation, Punctuation};

/// The stage of a chain that ends in columns.
pub struct RowsStage<In, P, F> {
    pipe: P,
    encode: F,
    input: PhantomData<fn(In)>,
}

impl<In, P, F> RowsStage<In, P, F> {
    /// What comes out of `pipe`, as `encode` puts it into columns.
    pub fn new(pipe: P, encode: F) -> Self {
        Self { pipe, encode, input: PhantomData }
    }
}

impl<In, P, F> Stage for RowsStage<In, P, F>
where
    In: Record,
    P: Pipe<In>,
    P::Out: Record,
    F: Fn(&[P::Out]) -> RecordBatch + Send + Sync + 'static,
{
    type In = In;
    type Out = Rows;
    type Local = P;
    type Part = ();

    const ORDERED: bool = true;

    fn local(&self, _: usize) -> P {
        self.pipe.clone()
    }

    fn bundle(&self, pipe: &P, _: Generation, bundle: Bundle<In>, emit: Emit<'_, Rows>) {
        let mut records = Vec::with_capacity(bundle.len());
        bundle.for_each(|time, record| pipe.push(time, record, &mut |_, record| records.push(record)));
        if !records.is_empty() {
            emit(Bundle::from(vec![Rows::from((self.encode)(&records))]));
        }
    }

    fn seal(&self, _: &[P], _: Punctuation) -> Vec<()> {
        Vec::new()
    }

    fn part(&self, _: &P, (): (), _: Emit<'_, Rows>) {}
}

impl<I: Record, P: Pipe<I>> Stream<I, P>
where
    P::Out: Record,
{
    /// The records as rows, in columns that `encode` makes of those of a bundle: one row for each. Event time is what a
    /// column of them says.
    pub fn to_rows(self, encode: impl Fn(&[P::Out]) -> RecordBatch + Send + Sync + 'static) -> Stream<Rows> {
        self.stage("to rows", |pipe, _| RowsStage::new(pipe, encode))
    }
}
