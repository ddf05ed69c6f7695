//! Sources that need no file.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeSet;

use support::{read, read_parts, run};
use updraft_connectors::{Generator, Memory};
use updraft_dataflow::{Partition, Source};
use updraft_kernel::clock;

#[test]
fn memory_is_split_and_repeated_without_copying() {
    let source = Memory::new((0..10).collect::<Vec<u64>>()).partitions(3).repeat(2);
    let parts: Vec<_> = read_parts(source.clone(), 2).unwrap().into_iter().map(|part| part.records).collect();
    assert_eq!(parts, [[0, 1, 2, 0, 1, 2].to_vec(), [3, 4, 5, 3, 4, 5].to_vec(), [6, 7, 8, 9, 6, 7, 8, 9].to_vec()]);
    let bundle = run(move || async move { source.open().unwrap()[1].next(100).await.unwrap().unwrap().records });
    assert_eq!((bundle.as_slice(), bundle.bytes()), (&[3, 4, 5][..], 0));
}

#[test]
fn memory_of_nothing_ends() {
    assert!(read(Memory::new(Vec::<u8>::new()).partitions(2).repeat(5), 10).unwrap().records.is_empty());
    assert!(read(Memory::new(vec![1]).repeat(0), 10).unwrap().records.is_empty());
}

#[test]
fn generator_deals_its_numbers_out() {
    let parts = read_parts(Generator::new(|i| i * i).count(10).partitions(4), 2).unwrap();
    let parts: Vec<_> = parts.into_iter().map(|part| part.records).collect();
    assert_eq!(parts[0], [0, 16, 64]);
    assert_eq!(parts[3], [9, 49]);
    let all: BTreeSet<u64> = parts.into_iter().flatten().collect();
    assert_eq!(all, (0..10).map(|i| i * i).collect());
}

#[test]
fn generator_keeps_to_its_rate() {
    let start = clock::now();
    let all = read(Generator::new(|i| i).count(200).rate(1_000.0), 1_000).unwrap();
    assert_eq!(all.records, (0..200).collect::<Vec<_>>());
    let took = clock::now().since(start).as_millis();
    assert!((195..2_000).contains(&took), "200 records at 1000 a second took {took} ms");
}
