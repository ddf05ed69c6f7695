//! What has gone wrong, in words that name no library.

use std::fmt::Display;

use updraft_dataflow::Error;
use updraft_kernel::give_up;

/// What DataFusion and Arrow put before a message to say of what kind it is.
const KINDS: [&str; 14] = [
    "Error during planning: ",
    "This feature is not implemented: ",
    "Schema error: ",
    "Internal error: ",
    "Execution error: ",
    "Arrow error: ",
    "Invalid or Unsupported Configuration: ",
    "type_coercion\ncaused by\n",
    "External error: ",
    "Cast error: ",
    "Parser error: ",
    "Invalid argument error: ",
    "Compute error: ",
    "Arithmetic overflow: ",
];

/// What an error says, without the kind of error that DataFusion and Arrow put before it, and what they put behind.
pub(crate) fn plain(error: &dyn Display) -> String {
    let message = error.to_string();
    let mut message = message.trim();
    while let Some(rest) = KINDS.iter().find_map(|kind| message.strip_prefix(kind)) {
        message = rest.trim_start();
    }
    let behind = ["\n\nThis issue was likely caused by a bug", "\n\nbacktrace: "];
    behind.iter().fold(message, |message, behind| message.split(behind).next().unwrap_or(message)).into()
}

/// The same as an error, for who does not know of DataFusion.
pub(crate) fn told(error: impl Display) -> Error {
    plain(&error).into()
}

/// Ends the job with what an error says.
pub(crate) fn fail(error: impl Display) -> ! {
    give_up(plain(&error))
}
