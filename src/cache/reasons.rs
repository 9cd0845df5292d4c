//! Why layers were lost: each reason once, with the layers that it holds for.

/// A warning names this many reasons, and layers of each, and counts the rest.
pub(super) const MAX_NAMED: usize = 10;

/// Lines of the layers, each with its reason.
pub(super) fn lines(lost: impl IntoIterator<Item = (String, String)>) -> Vec<String> {
    let mut by_reason: Vec<(String, Vec<String>)> = Vec::new();
    for (layer, reason) in lost {
        match by_reason.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, layers)) => layers.push(layer),
            None => by_reason.push((reason, vec![layer])),
        }
    }
    let lines = by_reason.iter().take(MAX_NAMED).map(|(reason, layers)| {
        let named = layers[..layers.len().min(MAX_NAMED)].join(", ");
        match layers.len().saturating_sub(MAX_NAMED) {
            0 => format!("{named}: {reason}"),
            more => format!("{named} and {more} more: {reason}"),
        }
    });
    let mut lines: Vec<_> = lines.collect();
    if by_reason.len() > MAX_NAMED {
        lines.push(format!("and {} more reasons", by_reason.len() - MAX_NAMED));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_said_once_for_all_its_layers() {
        let lost = (0..12).map(|n| (n.to_string(), "it is gone".to_owned()));
        assert_eq!(
            lines(lost),
            ["0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more: it is gone"]
        );
        let lost = (0..12).map(|n| ("a".to_owned(), n.to_string()));
        let lines = lines(lost);
        assert_eq!((lines.len(), lines[0].as_str()), (11, "a: 0"));
        assert_eq!(lines[10], "and 2 more reasons");
    }
}
