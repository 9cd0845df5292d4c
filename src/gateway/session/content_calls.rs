//! The calls of containerd's Content service, with which buildkitd reaches content stores on a session.

/// The package and service of content stores inside a session.
const CONTENT: &str = "/containerd.services.content.v1.Content/";

/// The methods of a content store.
const CONTENT_METHODS: [&str; 9] = [
    "Info",
    "Update",
    "List",
    "Delete",
    "Read",
    "Status",
    "ListStatuses",
    "Write",
    "Abort",
];

/// Whether a call inside a session is one to a content store.
pub(super) fn is_content_call(path: &str) -> bool {
    path.starts_with(CONTENT)
}

/// The paths of all methods of a content store.
pub(super) fn paths() -> impl Iterator<Item = String> {
    CONTENT_METHODS
        .iter()
        .map(|method| format!("{CONTENT}{method}"))
}
