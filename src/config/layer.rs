//! Where settings come from: the file, the environment, flags. Each is read into the same flat list of named raw values.

use std::fmt;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::key;
use super::problem::Problem;

/// Who said it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    Default,
    File {
        path: String,
        /// Counted from 1.
        line: usize,
    },
    Environment {
        variable: String,
    },
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Environment { variable } => write!(f, "environment {variable}"),
            Self::Flag => f.write_str("flag --set"),
        }
    }
}

/// A value before anything is known about what its key takes.
#[derive(Clone, PartialEq, Debug)]
pub enum Raw {
    Text(String),
    List(Vec<String>),
    Integer(i64),
    Float(f64),
    Switch(bool),
    /// A table, a date, a list of other things: what it is called.
    Other(&'static str),
}

/// One setting as one layer has it. `name` is dotted: `kafka.group_id`, `kafka.properties.security.protocol`.
#[derive(Clone, PartialEq)]
pub struct Entry {
    pub name: String,
    pub raw: Raw,
    pub origin: Origin,
}

/// Without the value, which can be a secret.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.origin)
    }
}

/// Prefix of the environment variables that are settings.
pub const ENV_PREFIX: &str = "SLUICE__";

/// Reads the TOML text of `path`. A syntax error names the line, never its content: it can hold a secret.
pub fn from_file(path: &Path, text: &str) -> Result<Vec<Entry>, Problem> {
    let shown = path.display().to_string();
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        let message = error.message().lines().next().unwrap_or_default().to_owned();
        Problem::new(&shown, format!("is not TOML at line {line}: {message}"), "mend the file there")
    })?;
    let mut entries = Vec::new();
    flatten(&shown, text, "", table.get_ref(), &mut entries);
    entries.sort_by_key(|entry| match entry.origin {
        Origin::File { line, .. } => line,
        _ => 0,
    });
    Ok(entries)
}

fn flatten(path: &str, text: &str, prefix: &str, table: &DeTable<'_>, entries: &mut Vec<Entry>) {
    for (name, value) in table {
        let dotted = if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
        let known_value = key::find(&dotted).is_some();
        match value.get_ref() {
            // Within the properties `security.protocol = …` without quotes is a table to TOML and means the same.
            DeValue::Table(inner) if !known_value => flatten(path, text, &dotted, inner, entries),
            other => {
                let line = line_of(text, name.span().start);
                entries.push(Entry { name: dotted, raw: raw_of(other), origin: Origin::File { path: path.into(), line } });
            }
        }
    }
    // An empty unknown table would otherwise pass unseen.
    if table.is_empty() && !prefix.is_empty() && !key::is_section(prefix) {
        let origin = Origin::File { path: path.into(), line: 1 };
        entries.push(Entry { name: prefix.into(), raw: Raw::Other("a table"), origin });
    }
}

fn raw_of(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => {
            integer(number.as_str(), number.radix()).map_or(Raw::Other("a number beyond 64 bits"), Raw::Integer)
        }
        DeValue::Float(number) => number.as_str().parse().map_or(Raw::Other("a number"), Raw::Float),
        DeValue::Boolean(switch) => Raw::Switch(*switch),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Table(_) => Raw::Other("a table"),
        DeValue::Array(items) => {
            let texts: Option<Vec<String>> = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect();
            texts.map_or(Raw::Other("a list of other things than texts"), Raw::List)
        }
    }
}

fn integer(digits: &str, radix: u32) -> Option<i64> {
    i64::from_str_radix(digits, radix).ok()
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Reads variables that begin with `SLUICE__`. `__` separates section and key, upper case is lowered. Behind
/// `SLUICE__KAFKA__PROPERTIES__` and `SLUICE__ICEBERG__PROPERTIES__`, where names hold dots and hyphens, `_` is a dot and
/// `__` a hyphen, as Iceberg's own REST server reads its environment.
pub fn from_environment(variables: impl IntoIterator<Item = (String, String)>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = variables
        .into_iter()
        .filter_map(|(variable, value)| {
            let rest = variable.strip_prefix(ENV_PREFIX)?;
            Some(Entry { name: environment_name(rest), raw: Raw::Text(value), origin: Origin::Environment { variable } })
        })
        .collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries
}

fn environment_name(rest: &str) -> String {
    let lower = rest.to_ascii_lowercase();
    for section in key::PROPERTY_SECTIONS {
        let prefix = format!("{}__", section.replace('.', "__"));
        if let Some(property) = lower.strip_prefix(&prefix) {
            // A name that came with dots, as container platforms allow, is taken as it is.
            let verbatim = property.contains('.');
            let property =
                if verbatim { rest[prefix.len()..].to_owned() } else { property.replace("__", "-").replace('_', ".") };
            return format!("{section}.{property}");
        }
    }
    lower.replacen("__", ".", 1)
}

/// Reads `--set KEY=VALUE`.
pub fn from_flags(flags: &[String]) -> Result<Vec<Entry>, Problem> {
    flags
        .iter()
        .map(|flag| match flag.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                Ok(Entry { name: name.trim().into(), raw: Raw::Text(value.into()), origin: Origin::Flag })
            }
            _ => Err(Problem::new("--set", "is not KEY=VALUE", "write for instance --set gold.commit_interval=10s")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Vec<Entry> {
        from_file(Path::new("sluice.toml"), text).unwrap()
    }

    #[test]
    fn every_value_of_the_file_knows_its_line() {
        let entries = file(
            "# ours\n[kafka]\ntopics = [\"a\", \"b\"]\n\n[kafka.properties]\n\"security.protocol\" = \"SSL\"\nssl.ca.location = \"x\"\n",
        );
        let seen: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.origin.to_string())).collect();
        assert_eq!(
            seen,
            [
                ("kafka.topics", "sluice.toml:3".to_owned()),
                ("kafka.properties.security.protocol", "sluice.toml:6".to_owned()),
                ("kafka.properties.ssl.ca.location", "sluice.toml:7".to_owned()),
            ]
        );
        assert_eq!(entries[0].raw, Raw::List(vec!["a".into(), "b".into()]));
    }

    #[test]
    fn a_syntax_error_names_the_line_and_not_its_content() {
        let problem = from_file(Path::new("sluice.toml"), "[kafka]\n\"sasl.password\" = \"hunter2\n").unwrap_err();
        assert!(problem.wrong.contains("line 2"), "{problem}");
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }

    #[test]
    fn the_environment_spells_sections_keys_and_properties() {
        let names = |variable: &str| from_environment([(variable.to_owned(), "v".to_owned())]).pop().map(|e| e.name);
        assert_eq!(names("SLUICE__KAFKA__BOOTSTRAP_SERVERS").as_deref(), Some("kafka.bootstrap_servers"));
        assert_eq!(
            names("SLUICE__KAFKA__PROPERTIES__SECURITY_PROTOCOL").as_deref(),
            Some("kafka.properties.security.protocol")
        );
        let s3 = "iceberg.properties.s3.path-style-access";
        assert_eq!(names("SLUICE__ICEBERG__PROPERTIES__S3_PATH__STYLE__ACCESS").as_deref(), Some(s3));
        assert_eq!(names("SLUICE__ICEBERG__PROPERTIES__s3.path-style-access").as_deref(), Some(s3));
        assert_eq!(names("HOME"), None);
    }

    #[test]
    fn an_empty_unknown_table_is_not_passed_over() {
        assert_eq!(file("[kafak]\n")[0].name, "kafak");
        assert_eq!(file("[kafka]\n[maintenance]\n"), []);
    }
}
