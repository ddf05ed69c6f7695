//! Functions that scripts written for Flink make of Java classes, by the names of these.

use updraft_sql::Session;
use updraft_sql::native;

/// Makes them known to a session.
pub(super) fn register(session: &mut Session) {
    session.register_function("com.github.nexmark.flink.udf.CountChar", native::count_char());
}
