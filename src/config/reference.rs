//! `${env:NAME}` and `${file:PATH}` inside a text. `$${` stands for `${` itself.

use std::collections::BTreeMap;
use std::path::Path;

/// Why a text could not be completed. Names variables and files, never their content.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReferenceError {
    #[error("names the variable {0}, which is not set")]
    NoVariable(String),
    #[error("names the file {path}, which can't be read: {reason}")]
    NoFile { path: String, reason: String },
    #[error("names the file {0}, which is not UTF-8 text")]
    NotText(String),
    #[error("holds ${{{0}}}, which is neither ${{env:NAME}} nor ${{file:PATH}}")]
    Unknown(String),
    #[error("holds a ${{ without its }}")]
    Unclosed,
}

impl ReferenceError {
    pub fn fix(&self) -> String {
        match self {
            Self::NoVariable(name) => format!("set {name} in the environment of the process"),
            Self::NoFile { path, .. } | Self::NotText(path) => {
                format!("put the value into {path}, readable for this user, or name another file")
            }
            Self::Unknown(_) | Self::Unclosed => "write ${env:NAME} or ${file:PATH}; $${ stands for ${ itself".into(),
        }
    }
}

/// A text whose references are put in. `None` where it had none.
pub fn resolve(text: &str, environment: &BTreeMap<String, String>) -> Result<Option<String>, ReferenceError> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut referred = false;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at]);
            out.push('{');
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let end = rest[at..].find('}').ok_or(ReferenceError::Unclosed)? + at;
        out.push_str(&look_up(&rest[at + 2..end], environment)?);
        referred = true;
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    Ok((referred || out != text).then_some(out))
}

fn look_up(reference: &str, environment: &BTreeMap<String, String>) -> Result<String, ReferenceError> {
    match reference.split_once(':') {
        Some(("env", name)) => environment.get(name).cloned().ok_or_else(|| ReferenceError::NoVariable(name.into())),
        Some(("file", path)) => read_secret_file(Path::new(path)),
        _ => Err(ReferenceError::Unknown(reference.into())),
    }
}

/// The content of a file less one trailing newline, as editors and `echo` leave it.
pub fn read_secret_file(path: &Path) -> Result<String, ReferenceError> {
    let shown = path.display().to_string();
    let bytes =
        std::fs::read(path).map_err(|error| ReferenceError::NoFile { path: shown.clone(), reason: error.to_string() })?;
    let mut text = String::from_utf8(bytes).map_err(|_| ReferenceError::NotText(shown))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Result<Option<String>, ReferenceError> {
        resolve(text, &BTreeMap::from([("USER".to_owned(), "ada".to_owned())]))
    }

    #[test]
    fn references_are_put_in_and_everything_else_is_left() {
        assert_eq!(with("plain $text {x}"), Ok(None));
        assert_eq!(with("a ${env:USER} b ${env:USER}"), Ok(Some("a ada b ada".into())));
        assert_eq!(with("$${env:USER}"), Ok(Some("${env:USER}".into())));
    }

    #[test]
    fn a_file_gives_its_content_less_one_newline() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "hunter2\n\n").unwrap();
        assert_eq!(with(&format!("${{file:{}}}", path.display())), Ok(Some("hunter2\n".into())));
        std::fs::write(&path, "hunter2\r\n").unwrap();
        assert_eq!(read_secret_file(&path), Ok("hunter2".into()));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(with("${env:NOBODY}"), Err(ReferenceError::NoVariable("NOBODY".into())));
        assert_eq!(with("${vault:x}"), Err(ReferenceError::Unknown("vault:x".into())));
        assert_eq!(with("${env:USER"), Err(ReferenceError::Unclosed));
        assert!(matches!(with("${file:/nonexistent/secret}"), Err(ReferenceError::NoFile { .. })));
    }
}
