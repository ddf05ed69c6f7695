//! The high level: operators. Orders are joined with their payments; what is not paid within a minute is told apart from what
//! is; and customers' visits are sessions of orders.
//!
//! `cargo run --release --example 02_streams`

use std::time::Duration;

use serde::Serialize;
use updraft::dataflow::join::Left;
use updraft::dataflow::join::interval::Interval;
use updraft::prelude::*;

/// Seconds, number, customer, cents.
type Order = (i64, u32, String, u64);
/// Seconds, number of the order.
type Payment = (i64, u32);

#[derive(Clone, Serialize)]
struct News {
    what: String,
}

fn main() -> Result<(), updraft::JobError> {
    let orders =
        [(0, 1, "ann", 500), (10, 2, "bob", 700), (20, 3, "ann", 250), (400, 4, "ann", 900), (410, 5, "bob", 100)];
    let orders = orders.map(|(time, number, customer, cents)| (time, number, customer.to_string(), cents));
    let payments: Vec<Payment> = vec![(5, 1), (75, 2), (30, 3), (420, 4)];
    let disorder = Duration::from_secs(120);

    let job = Job::new("shop");
    let orders = job
        .source("orders", Memory::new(orders.to_vec()))
        .timestamps(|order: &Order| Time::from_secs(order.0), Watermarks::bounded(disorder))
        .stream();
    let payments = job
        .source("payments", Memory::new(payments))
        .timestamps(|payment: &Payment| Time::from_secs(payment.0), Watermarks::bounded(disorder))
        .stream();

    // One stream twice: what comes before is done once.
    let (to_pay, all) = orders.fork();
    let (paid, unpaid) = to_pay
        .key_by(|order| order.1)
        .join(payments.key_by(|payment| payment.1))
        .within(Interval::after(Duration::from_secs(60)), Left)
        .split(|(_, payment): &(Order, Option<Payment>)| payment.is_some());
    paid.map(|(order, payment)| {
        let after = payment.map_or(0, |payment| payment.0 - order.0);
        format!("order {}: paid after {after} s", order.1)
    })
    .union(unpaid.map(|(order, _)| format!("order {}: not paid within a minute", order.1)))
    .union(
        all.key_by(|order| order.2.clone())
            .window(Session::with_gap(Duration::from_secs(300)))
            .aggregate((count(), sum(|order: &Order| order.3)))
            .map(|row| format!("{}: {} orders in a visit, {} cents", row.key, row.value.0, row.value.1)),
    )
    .map(|what| News { what })
    .sink("news", Stdout::csv());
    job.run()?;
    Ok(())
}
