//! Arrays as the server writes them: `{1,NULL,"a \"b\""}`, `[0:1]={1,2}`, `{{1},{2}}`.

/// The items of an array; those that are arrays themselves as their texts. `None` where it is none.
pub(super) fn parse(text: &str) -> Option<Vec<Option<String>>> {
    let text = if text.starts_with('[') { after_bounds(text)? } else { text };
    let mut rest = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    if rest.is_empty() {
        return Some(items);
    }
    loop {
        let (item, after) = item(rest)?;
        items.push(item);
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.is_empty() => return Some(items),
            None => return None,
        }
    }
}

/// What follows after the bounds of its indices, which are told where these don't begin at 1: `[0:1]=`.
pub(super) fn after_bounds(text: &str) -> Option<&str> {
    let (bounds, rest) = text.split_once('=')?;
    let are_bounds = bounds.chars().all(|char| char.is_ascii_digit() || "[]:+-".contains(char));
    (are_bounds && bounds.starts_with('[') && bounds.ends_with(']')).then_some(rest)
}

/// The first item, and what follows.
fn item(text: &str) -> Option<(Option<String>, &str)> {
    if text.starts_with('{') {
        let end = end_of_nested(text)?;
        return Some((Some(text[..end].to_owned()), &text[end..]));
    }
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(',').unwrap_or(text.len());
        let value = &text[..end];
        let item = if value.eq_ignore_ascii_case("null") { None } else { Some(value.to_owned()) };
        return (!value.is_empty()).then_some((item, &text[end..]));
    };
    let (mut value, mut chars) = (String::new(), quoted.char_indices());
    loop {
        match chars.next()? {
            (_, '\\') => value.push(chars.next()?.1),
            (at, '"') => return Some((Some(value), &quoted[at + 1..])),
            (_, other) => value.push(other),
        }
    }
}

/// Where the array ends that a text begins with.
fn end_of_nested(text: &str) -> Option<usize> {
    let (mut depth, mut is_quoted, mut chars) = (0_usize, false, text.char_indices());
    loop {
        let (at, char) = chars.next()?;
        match char {
            '\\' => drop(chars.next()?),
            '"' => is_quoted = !is_quoted,
            '{' if !is_quoted => depth += 1,
            '}' if !is_quoted => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_taken_apart() {
        let items = |text: &str| {
            let items = parse(text)?.into_iter().map(|item| item.unwrap_or_else(|| "∅".into()));
            Some(items.collect::<Vec<_>>())
        };
        let some = |items: &[&str]| Some(items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>());
        assert_eq!(items("{}"), some(&[]));
        assert_eq!(items("{1,NULL,\"NULL\",\"a,\\\"b\\\\\",\"\"}"), some(&["1", "∅", "NULL", "a,\"b\\", ""]));
        assert_eq!(items("[0:1]={1,2}"), some(&["1", "2"]));
        assert_eq!(items("{{1,\"}\"},{2}}"), some(&["{1,\"}\"}", "{2}"]));
        for wrong in ["", "{", "1", "{1", "{1,}", "{\"a}", "{\"a\"b}", "{{1}", "{,}"] {
            assert_eq!(items(wrong), None, "{wrong}");
        }
    }
}
