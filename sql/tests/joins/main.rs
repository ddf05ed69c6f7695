//! Joins against their definition, nested loops over all rows, and against DataFusion's own. Driven by hand, bundle by bundle, and in whole jobs on one to three
//! kernels, real and simulated.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../src/operator/testing/driven.rs"]
mod driven;
#[path = "../../../dataflow/tests/support/mod.rs"]
mod support;

mod by_hand;
mod datafusion;
mod flowing;
mod greatest;
mod model;
mod regular;
mod timed;
