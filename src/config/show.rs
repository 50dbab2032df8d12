//! The effective settings with their origin, without secrets: `sluice config show`.

use serde::Serialize;

use super::Settings;

/// One line of `config show`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ShownSetting {
    pub key: String,
    /// Redacted where it is secret.
    pub value: String,
    /// `default`, `sluice.toml:12`, `environment SLUICE__…` or `flag --set`.
    pub origin: String,
    /// Why the setting does nothing yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_effect: Option<String>,
}

/// Every setting that is on, keys in the order of the documentation, then properties by name.
pub fn shown(settings: &Settings) -> Vec<ShownSetting> {
    settings
        .iter()
        .map(|setting| ShownSetting {
            key: setting.name.clone(),
            value: setting.shown.clone(),
            origin: setting.origin.to_string(),
            without_effect: setting.without_effect.map(str::to_owned),
        })
        .collect()
}
