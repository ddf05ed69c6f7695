//! Tables by Flink's options.
