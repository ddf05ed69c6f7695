//! Subjects: tokens with dots between them, `*` for any one token and `>` for all that follow.

use updraft_dataflow::Error;

/// Finds fault with a subject that is to be published to, or with a pattern of subjects.
pub(crate) fn check(subject: &str, pattern: bool) -> Result<(), Error> {
    let fault = |what: &str| Err(format!("subject '{subject}': {what}").into());
    if subject.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return fault("has a blank, which subjects cannot have");
    }
    let mut tokens = subject.split('.').peekable();
    while let Some(token) = tokens.next() {
        match token {
            "" => return fault("has an empty token: begin and end without a dot, and put one dot between two tokens"),
            "*" | ">" if !pattern => return fault("has a wildcard, and cannot be published to: name one subject"),
            ">" if tokens.peek().is_some() => {
                return fault("has something after '>', which stands for all that follows");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a subject is one of those that `pattern` stands for.
pub(crate) fn matches(pattern: &str, subject: &str) -> bool {
    let mut subject = subject.split('.');
    for token in pattern.split('.') {
        match (token, subject.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (token, Some(other)) if token == other => {}
            _ => return false,
        }
    }
    subject.next().is_none()
}

/// Whether there is a subject that both patterns stand for.
pub(crate) fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (None, _) | (_, None) => return false,
            (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(a), Some(b)) if a != b && a != "*" && b != "*" => return false,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_tokens() {
        assert!(matches("a.*.c", "a.b.c") && !matches("a.*.c", "a.b.d") && !matches("a.*", "a.b.c"));
        assert!(matches("a.>", "a.b.c") && !matches("a.>", "a") && matches(">", "x"));
    }

    /// Against all subjects of three tokens or fewer out of two words.
    #[test]
    fn patterns_overlap_where_a_subject_is_of_both() {
        let grow = |words: &[&str]| {
            let mut all: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            for _ in 0..2 {
                let longer: Vec<_> = all.iter().filter(|start| !start.ends_with('>')).cloned().collect();
                all.extend(longer.iter().flat_map(|start| words.iter().map(move |word| format!("{start}.{word}"))));
            }
            all.sort();
            all.dedup();
            all
        };
        let (subjects, patterns) = (grow(&["a", "b"]), grow(&["a", "b", "*", ">"]));
        for one in &patterns {
            for other in &patterns {
                let both = subjects.iter().any(|subject| matches(one, subject) && matches(other, subject));
                assert_eq!(overlap(one, other), both, "{one} and {other}");
            }
        }
    }

    #[test]
    fn what_is_no_subject_is_told() {
        let told = |subject, pattern| check(subject, pattern).map_err(|error| error.to_string());
        assert_eq!(told("a.*.>", true), Ok(()));
        assert!(told("a..b", true).is_err_and(|error| error.contains("has an empty token")));
        assert!(told("a.>.b", true).is_err_and(|error| error.contains("has something after '>'")));
        assert!(told("a.*", false).is_err_and(|error| error.contains("has a wildcard")));
        assert!(told("a b", true).is_err_and(|error| error.contains("has a blank")));
    }
}
