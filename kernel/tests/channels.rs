//! Channels against a queue as a model, and how they end.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use updraft_kernel::channel::{Closed, Receiver, Sender, TryRecvError, TrySendError, local, spsc};

#[derive(Clone, Copy, Debug)]
enum Op {
    TrySend,
    TryRecv,
    /// A send or receive that is dropped if it cannot be done at once.
    Send,
    Recv,
    DropSender,
    DropReceiver,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => Just(Op::TrySend),
        4 => Just(Op::TryRecv),
        4 => Just(Op::Send),
        4 => Just(Op::Recv),
        1 => Just(Op::DropSender),
        1 => Just(Op::DropReceiver),
    ];
    proptest::collection::vec(op, 0..60)
}

/// One look at a future.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn agrees(ops: &[Op], capacity: usize, sender: impl Sender<u32>, receiver: impl Receiver<u32>) {
    let (mut sender, mut receiver) = (Some(sender), Some(receiver));
    let mut model = VecDeque::new();
    for (n, op) in (0..).zip(ops) {
        let full = model.len() == capacity;
        match (op, &mut sender, &mut receiver) {
            (Op::TrySend, Some(sender), receiver) => {
                let expected = match receiver {
                    None => Err(TrySendError::Closed(n)),
                    Some(_) if full => Err(TrySendError::Full(n)),
                    Some(_) => Ok(()),
                };
                assert_eq!(sender.try_send(n), expected);
                model.extend(expected.is_ok().then_some(n));
            }
            (Op::Send, Some(sender), receiver) => {
                let expected = match receiver {
                    None => Some(Err(Closed(n))),
                    Some(_) if full => None,
                    Some(_) => Some(Ok(())),
                };
                assert_eq!(now(sender.send(n)), expected);
                model.extend((expected == Some(Ok(()))).then_some(n));
            }
            (Op::TryRecv, sender, Some(receiver)) => {
                let none = if sender.is_some() { TryRecvError::Empty } else { TryRecvError::Closed };
                assert_eq!(receiver.try_recv(), model.pop_front().ok_or(none));
            }
            (Op::Recv, sender, Some(receiver)) => {
                let expected = match model.pop_front() {
                    Some(value) => Some(Some(value)),
                    None if sender.is_some() => None,
                    None => Some(None),
                };
                assert_eq!(now(receiver.recv()), expected);
            }
            (Op::DropSender, ..) => sender = None,
            (Op::DropReceiver, ..) => receiver = None,
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn a_local_channel_is_a_bounded_queue(ops in ops(), capacity in 1usize..5) {
        let (sender, receiver) = local(capacity);
        agrees(&ops, capacity, sender, receiver);
    }

    #[test]
    fn an_spsc_channel_is_a_bounded_queue(ops in ops(), capacity in 1usize..5) {
        let (sender, receiver) = spsc(capacity);
        agrees(&ops, capacity, sender, receiver);
    }
}

#[test]
fn what_was_not_received_is_dropped() {
    let value = Rc::new(());
    let (mut sender, receiver) = local(2);
    sender.try_send(value.clone()).unwrap();
    drop(receiver);
    assert_eq!(Rc::strong_count(&value), 1);
}
