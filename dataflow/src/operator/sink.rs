//! `sink`: where records leave the job.

use std::sync::Arc;

use crate::bundle::Record;
use crate::explain::{Exchange, NodeKind};
use crate::job::At;
use crate::operator::EmitStage;
use crate::pipe::Pipe;
use crate::sink::{self, Sink, SinkPort, Unclosed};
use crate::stream::Stream;

impl<I: Record, P: Pipe<I>> Stream<I, P>
where
    P::Out: Record,
{
    /// Gives all records to `sink`, which `name` tells from others in errors and metrics.
    pub fn sink(self, name: impl Into<Arc<str>>, sink: impl Sink<P::Out>) {
        // Sinks take records as they are: their event times end here.
        let stream = self.stage("sink", |pipe, _| EmitStage::new(pipe, false));
        let name = name.into();
        let node =
            stream.job.draw(|graph| graph.reads(NodeKind::Sink, name.to_string(), "", &stream.upstream, Exchange::One));
        stream.job.step(move |assembly| {
            let metrics = assembly.sink_metrics(name.clone());
            let part = assembly.sink_part(node)?;
            let port = Arc::new(SinkPort::new(assembly.shared.clone(), metrics, part, stream.upstream.in_order));
            assembly.connect(node, &stream.upstream, port.clone());
            assembly.sink_task(move |group, kernel, metrics| {
                let (fails, metrics) = (group.clone(), metrics.clone());
                // From here on it is told if the job fails, even before its task's first turn.
                let sink = Unclosed::new(sink);
                group.spawn(kernel, name.clone(), move || async move {
                    if let Err(error) = sink::drive(sink, port, metrics).await {
                        fails.fail(At::new(format!("sink `{name}`"), error));
                    }
                });
            });
            Ok(())
        });
    }
}
