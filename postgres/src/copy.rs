//! The text of `COPY … TO STDOUT`: a line for each row, with tabs between values.

use updraft_dataflow::Error;

/// Cuts a stream into rows.
#[derive(Default)]
pub(crate) struct Lines {
    buffer: Vec<u8>,
    /// What of it has been taken.
    taken: usize,
    values: Vec<Option<String>>,
}

impl Lines {
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The values of the next row, if it has come whole.
    pub(crate) fn next(&mut self) -> Result<Option<&[Option<String>]>, Error> {
        let rest = &self.buffer[self.taken..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let line = std::str::from_utf8(&rest[..end])
            .map_err(|error| format!("the server has sent what is not UTF-8: {error}"))?;
        self.values.clear();
        // A table without columns has empty lines.
        self.values.extend(line.split('\t').map(value));
        self.taken += end + 1;
        Ok(Some(&self.values))
    }
}

fn value(text: &str) -> Option<String> {
    if text == "\\N" {
        return None;
    }
    let mut parts = text.split('\\');
    let mut value = parts.next().unwrap_or_default().to_owned();
    while let Some(part) = parts.next() {
        let mut chars = part.chars();
        match chars.next() {
            // Two backslashes: what is between them is nothing, and what follows is plain.
            None => {
                value.push('\\');
                value.push_str(parts.next().unwrap_or_default());
                continue;
            }
            Some('b') => value.push('\u{8}'),
            Some('f') => value.push('\u{c}'),
            Some('n') => value.push('\n'),
            Some('r') => value.push('\r'),
            Some('t') => value.push('\t'),
            Some('v') => value.push('\u{b}'),
            Some(other) => value.push(other),
        }
        value.push_str(chars.as_str());
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_anywhere() {
        let text = "1\t\\N\ta\\tb\\\\N\\nc\n2\t\t\\\\\n";
        let some = |text: &str| Some(text.to_owned());
        for cut in 0..text.len() {
            let (mut lines, mut rows) = (Lines::default(), Vec::new());
            for part in [&text[..cut], &text[cut..]] {
                lines.extend(part.as_bytes());
                while let Some(row) = lines.next().unwrap() {
                    rows.push(row.to_vec());
                }
            }
            let expected = [vec![some("1"), None, some("a\tb\\N\nc")], vec![some("2"), some(""), some("\\")]];
            assert_eq!(rows, expected);
        }
    }
}
