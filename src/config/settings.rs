//! The layers put over each other, references put in, every value checked against what its key takes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::key::{self, Fallback, Key, Kind};
use super::layer::{Entry, Origin, Raw};
use super::problem::Problem;
use super::reference;
use super::secret::{REDACTED, Secret, is_secret_name, without_userinfo};
use super::units::{parse_bytes, parse_duration, show_bytes, show_duration};

/// A value as its key takes it. It can't be printed: a text can be a secret.
#[derive(Clone, PartialEq)]
pub enum Value {
    Text(String),
    List(Vec<String>),
    Duration(Duration),
    /// Bytes, or a plain count.
    Number(u64),
    Fraction(f64),
    Switch(bool),
    /// Read from `path`.
    Secret {
        path: String,
        secret: Secret,
    },
}

/// One effective setting.
#[derive(Clone, PartialEq)]
pub struct Setting {
    pub name: String,
    pub value: Value,
    pub origin: Origin,
    /// What may be printed: never a secret, whatever it was read from.
    pub shown: String,
    pub without_effect: Option<&'static str>,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} ({})", self.shown, self.origin)
    }
}

/// All effective settings by dotted name. Keys that are off are absent.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Settings(BTreeMap<String, Setting>);

impl Settings {
    /// `layers` from weakest to strongest. Of the required keys only those of `sections` are asked for; everything that is
    /// set is checked, wherever it stands.
    pub fn resolve(
        layers: Vec<Vec<Entry>>,
        sections: &[&str],
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut strongest: BTreeMap<String, Entry> = BTreeMap::new();
        for entry in layers.into_iter().flatten() {
            match known(&entry) {
                Ok(()) => drop(strongest.insert(entry.name.clone(), entry)),
                Err(problem) => problems.push(problem),
            }
        }
        let mut settings = Self::default();
        for key in key::KEYS {
            let entry = strongest.remove(key.name).or_else(|| default_of(key));
            match entry {
                Some(entry) => settings.insert(key_setting(key, entry, environment), &mut problems),
                None if key.default == Fallback::Required && sections.contains(&section_of(key.name)) => {
                    problems.push(Problem::new(key.name, "is required and not set", format!("write {}", written(key))));
                }
                None => {}
            }
        }
        for (_, entry) in strongest {
            settings.insert(property_setting(entry, environment), &mut problems);
        }
        settings.fit_default_batch();
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    /// Whoever writes a small limits.memory_max has said nothing of batches: what nobody wrote gives way.
    fn fit_default_batch(&mut self) {
        let Some(Value::Number(memory)) = self.0.get("limits.memory_max").map(|setting| &setting.value) else { return };
        let most = batch_bytes_most(*memory);
        if let Some(Setting { value: Value::Number(batch), shown, origin: Origin::Default, .. }) =
            self.0.get_mut("gold.batch_bytes_max")
            && *batch > most
        {
            (*batch, *shown) = (most, show_bytes(most));
        }
    }

    fn insert(&mut self, setting: Result<Option<Setting>, Problem>, problems: &mut Vec<Problem>) {
        match setting {
            Ok(Some(setting)) => drop(self.0.insert(setting.name.clone(), setting)),
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }

    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.0.get(name)
    }

    /// Keys in the order of the table, then properties by name.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        let keys = key::KEYS.iter().filter_map(|key| self.0.get(key.name));
        keys.chain(self.0.values().filter(|setting| key::property(&setting.name).is_some()))
    }

    /// Properties of a section: their own names with their values.
    pub fn properties<'a>(&'a self, section: &'a str) -> impl Iterator<Item = (&'a str, &'a Setting)> {
        self.0.values().filter_map(move |setting| match key::property(&setting.name) {
            Some((of, name)) if of == section => Some((name, setting)),
            _ => None,
        })
    }

    fn value(&self, name: &str) -> &Value {
        match self.0.get(name) {
            Some(setting) => &setting.value,
            None => panic!("{name} is read without being a key with a default, or a required key of a section asked for"),
        }
    }

    pub fn text(&self, name: &str) -> String {
        self.optional_text(name).unwrap_or_else(|| panic!("{name} is read as a text without being one"))
    }

    pub fn optional_text(&self, name: &str) -> Option<String> {
        match self.0.get(name).map(|setting| &setting.value) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }

    pub fn optional_path(&self, name: &str) -> Option<PathBuf> {
        self.optional_text(name).map(PathBuf::from)
    }

    pub fn optional_secret(&self, name: &str) -> Option<Secret> {
        match self.0.get(name).map(|setting| &setting.value) {
            Some(Value::Secret { secret, .. }) => Some(secret.clone()),
            _ => None,
        }
    }

    pub fn list(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Value::List(texts) => texts.clone(),
            _ => panic!("{name} is read as a list without being one"),
        }
    }

    pub fn duration(&self, name: &str) -> Duration {
        match self.value(name) {
            Value::Duration(duration) => *duration,
            _ => panic!("{name} is read as a duration without being one"),
        }
    }

    pub fn number(&self, name: &str) -> u64 {
        match self.value(name) {
            Value::Number(number) => *number,
            _ => panic!("{name} is read as a number without being one"),
        }
    }

    pub fn fraction(&self, name: &str) -> f64 {
        match self.value(name) {
            Value::Fraction(fraction) => *fraction,
            _ => panic!("{name} is read as a fraction without being one"),
        }
    }

    pub fn switch(&self, name: &str) -> bool {
        match self.value(name) {
            Value::Switch(switch) => *switch,
            _ => panic!("{name} is read as a switch without being one"),
        }
    }
}

/// A quarter of the memory, which holds two batches and what reads and writes them.
pub fn batch_bytes_most(memory_max: u64) -> u64 {
    memory_max / 4
}

fn section_of(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// How a key is written in the file, with its example.
fn written(key: &Key) -> String {
    let short = key.name.split_once('.').map_or(key.name, |(_, short)| short);
    let example = match key.kind {
        Kind::TextList => format!("[\"{}\"]", key.example.replace(',', "\", \"")),
        Kind::Count | Kind::Fraction | Kind::Switch => key.example.to_owned(),
        _ => format!("\"{}\"", key.example),
    };
    let variable = key.name.to_ascii_uppercase().replacen('.', "__", 1);
    format!("{short} = {example} under [{}], or set SLUICE__{variable}", section_of(key.name))
}

fn known(entry: &Entry) -> Result<(), Problem> {
    if key::find(&entry.name).is_some() || key::property(&entry.name).is_some() {
        return Ok(());
    }
    if key::is_section(&entry.name) {
        return Err(Problem::new(
            &entry.name,
            "is a section, not a value",
            format!("write [{}] and the keys below it", entry.name),
        )
        .at(&entry.origin));
    }
    let fix = match key::suggestion(&entry.name) {
        Some(meant) => format!("did you mean {meant}?"),
        None => "remove it; `sluice config show` lists every key".into(),
    };
    Err(Problem::new(&entry.name, "is no setting", fix).at(&entry.origin))
}

fn default_of(key: &Key) -> Option<Entry> {
    match key.default {
        Fallback::Value(text) => Some(Entry { name: key.name.into(), raw: Raw::Text(text.into()), origin: Origin::Default }),
        Fallback::Required | Fallback::Absent => None,
    }
}

/// `None` where an empty text switches an optional key off.
fn key_setting(key: &Key, entry: Entry, environment: &BTreeMap<String, String>) -> Result<Option<Setting>, Problem> {
    let typed = put_in(&entry, environment)?;
    if key.default == Fallback::Absent && typed == Raw::Text(String::new()) {
        return Ok(None);
    }
    let value = take(key, typed, &entry.origin)?;
    let shown = match &value {
        Value::Number(number) => show_number(key, *number),
        other => show(other),
    };
    Ok(Some(Setting { name: entry.name, value, origin: entry.origin, shown, without_effect: key.without_effect }))
}

/// Properties are texts to the system that they belong to; numbers and switches are accepted as people write them.
fn property_setting(entry: Entry, environment: &BTreeMap<String, String>) -> Result<Option<Setting>, Problem> {
    let typed = put_in(&entry, environment)?;
    let (_, property) = key::property(&entry.name).expect("everything else was refused as unknown");
    let text = match &typed {
        Raw::Text(text) => text.clone(),
        Raw::Integer(number) => number.to_string(),
        Raw::Float(number) => number.to_string(),
        Raw::Switch(switch) => switch.to_string(),
        Raw::List(_) | Raw::Other(_) => {
            return Err(Problem::new(&entry.name, "is not a text", "write the value in quotes").at(&entry.origin));
        }
    };
    let shown = match &entry.raw {
        _ if is_secret_name(property) => REDACTED.into(),
        // What a reference brought in may be a secret under any name: the reference itself is shown.
        Raw::Text(template) if typed != entry.raw => template.clone(),
        _ => without_userinfo(&text),
    };
    Ok(Some(Setting { name: entry.name, value: Value::Text(text), origin: entry.origin, shown, without_effect: None }))
}

fn put_in(entry: &Entry, environment: &BTreeMap<String, String>) -> Result<Raw, Problem> {
    let one = |text: &String| match reference::resolve(text, environment) {
        Ok(resolved) => Ok(resolved.unwrap_or_else(|| text.clone())),
        Err(error) => Err(Problem::new(&entry.name, error.to_string(), error.fix()).at(&entry.origin)),
    };
    match &entry.raw {
        Raw::Text(text) => one(text).map(Raw::Text),
        Raw::List(texts) => texts.iter().map(one).collect::<Result<_, _>>().map(Raw::List),
        other => Ok(other.clone()),
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::Text(text) => without_userinfo(text),
        Value::List(texts) => texts.join(", "),
        Value::Duration(duration) => show_duration(*duration),
        Value::Number(number) => number.to_string(),
        Value::Fraction(fraction) => fraction.to_string(),
        Value::Switch(switch) => switch.to_string(),
        Value::Secret { path, .. } => format!("{REDACTED} from {path}"),
    }
}

/// Checks a value against what its key takes.
fn take(key: &Key, raw: Raw, origin: &Origin) -> Result<Value, Problem> {
    let refuse = |wrong: String, fix: String| Problem::new(key.name, wrong, fix).at(origin);
    let found = describe(&raw);
    let write = || format!("write {}", written(key));
    match (key.kind, raw) {
        (Kind::Text | Kind::Path, Raw::Text(text)) => Ok(Value::Text(text)),
        (Kind::Url, Raw::Text(text)) => match url::Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Value::Text(text)),
            _ => Err(refuse(format!("= {found} is not an http or https address"), write())),
        },
        (Kind::SecretFile, Raw::Text(path)) => match reference::read_secret_file(path.as_ref()) {
            Ok(secret) => Ok(Value::Secret { path, secret: Secret::new(secret) }),
            Err(error) => Err(refuse(error.to_string(), error.fix())),
        },
        (Kind::TextList, Raw::List(texts)) => Ok(Value::List(texts)),
        (Kind::TextList, Raw::Text(text)) if !matches!(origin, Origin::File { .. }) => {
            Ok(Value::List(text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()))
        }
        (Kind::Duration, Raw::Text(text)) => parse_duration(&text)
            .map(Value::Duration)
            .map_err(|error| refuse(format!("= {found} is refused: {error}"), write())),
        (Kind::Size, Raw::Text(text)) => {
            parse_bytes(&text).map(Value::Number).map_err(|error| refuse(format!("= {found} is refused: {error}"), write()))
        }
        (Kind::Size | Kind::Count, Raw::Integer(number)) if number >= 0 => Ok(Value::Number(number.unsigned_abs())),
        (Kind::Count, Raw::Text(text)) if text.trim().parse::<u64>().is_ok() => {
            Ok(Value::Number(text.trim().parse().expect("it was just parsed")))
        }
        (Kind::Count, _) => Err(refuse(format!("= {found} is not a whole number of 0 or more"), write())),
        (Kind::Fraction, raw) => match fraction_of(&raw) {
            Some(fraction) => Ok(Value::Fraction(fraction)),
            None => Err(refuse(format!("= {found} is not a number between 0 and 1"), write())),
        },
        (Kind::Switch, Raw::Switch(switch)) => Ok(Value::Switch(switch)),
        (Kind::Switch, Raw::Text(text)) if text == "true" || text == "false" => Ok(Value::Switch(text == "true")),
        (Kind::Choice(choices), Raw::Text(text)) => match choices.contains(&text.as_str()) {
            true => Ok(Value::Text(text)),
            false => Err(refuse(format!("= {found} is not one of {}", choices.join(", ")), write())),
        },
        (kind, _) => Err(refuse(format!("= {found} is not {}", called(kind)), write())),
    }
}

fn fraction_of(raw: &Raw) -> Option<f64> {
    let fraction = match raw {
        Raw::Float(number) => *number,
        Raw::Integer(number) => *number as f64,
        Raw::Text(text) => text.trim().parse().ok()?,
        Raw::List(_) | Raw::Switch(_) | Raw::Other(_) => return None,
    };
    (0.0..=1.0).contains(&fraction).then_some(fraction)
}

fn called(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Choice(_) => "a text",
        Kind::Url => "an address",
        Kind::Path | Kind::SecretFile => "a path",
        Kind::TextList => "a list of texts",
        Kind::Duration => "a duration: a number with its unit, in quotes",
        Kind::Size => "a size in bytes",
        Kind::Count => "a whole number of 0 or more",
        Kind::Fraction => "a number between 0 and 1",
        Kind::Switch => "true or false",
    }
}

fn describe(raw: &Raw) -> String {
    match raw {
        Raw::Text(text) => format!("{:?}", without_userinfo(text)),
        Raw::List(texts) => format!("{texts:?}"),
        Raw::Integer(number) => number.to_string(),
        Raw::Float(number) => number.to_string(),
        Raw::Switch(switch) => switch.to_string(),
        Raw::Other(what) => (*what).into(),
    }
}

/// Sizes are shown in units, counts as they are.
fn show_number(key: &Key, number: u64) -> String {
    if key.kind == Kind::Size { show_bytes(number) } else { number.to_string() }
}
