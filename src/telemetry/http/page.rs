//! The status page: plain HTML without scripts, made anew for each request.

use std::fmt::{Display, Write};

use crate::telemetry::status::{DependencyStatus, PartitionStatus, Status};

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:2rem;max-width:70rem}\
    table{border-collapse:collapse;margin:.5rem 0 1.5rem}th,td{border:1px solid #ccc;padding:.2rem .6rem;text-align:left}\
    td.n{text-align:right;font-variant-numeric:tabular-nums}.ok{color:#060}.bad{color:#a00}";

/// Escapes what HTML would read as markup, in text and in attributes.
struct Escaped<T>(T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.to_string().chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

pub(super) fn status_page(status: &Status, version: &str) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">\
         <title>sluice {group}</title><style>{STYLE}</style></head><body><h1>sluice {version}</h1>\
         <p>{group} &rarr; {table}</p>",
        group = Escaped(&status.group),
        table = Escaped(&status.table),
        version = Escaped(version),
    );
    html += &match status.readiness().reason() {
        None => "<p class=\"ok\">ready</p>".into(),
        Some(reason) => format!("<p class=\"bad\">not ready: {}</p>", Escaped(reason)),
    };
    last_commit(&mut html, status);
    dependencies(&mut html, status);
    partitions(&mut html, &status.partitions);
    memory(&mut html, status);
    html += "<p><a href=\"/status\">status</a> &middot; <a href=\"/metrics\">metrics</a> &middot; \
             <a href=\"/readyz?verbose\">readiness</a></p></body></html>\n";
    html
}

fn last_commit(html: &mut String, status: &Status) {
    let Some(commit) = &status.last_commit else {
        *html += "<p>no commit yet</p>";
        return;
    };
    let counts = [
        ("consumed", commit.consumed),
        ("written", commit.written),
        ("duplicate", commit.duplicate),
        ("late", commit.late),
        ("dead-lettered", commit.dead_lettered),
    ];
    let counts: Vec<String> = counts.iter().map(|(name, n)| format!("{name} {n}")).collect();
    push(
        html,
        format_args!(
            "<h2>Last commit</h2><p>{} snapshot {}: {}; watermark {}</p>",
            Escaped(&commit.timestamp),
            commit.snapshot_id,
            counts.join(", "),
            Escaped(status.watermark.as_deref().unwrap_or("none")),
        ),
    );
}

fn dependencies(html: &mut String, status: &Status) {
    if status.dependencies.is_empty() {
        return;
    }
    *html += "<h2>Dependencies</h2><table>";
    for (name, dependency) in &status.dependencies {
        let (class, word, since, reason) = match dependency {
            DependencyStatus::Up { since } => ("ok", "up", since, ""),
            DependencyStatus::Down { since, reason } => ("bad", "down", since, reason.as_str()),
        };
        push(
            html,
            format_args!(
                "<tr><td>{}</td><td class=\"{class}\">{word}</td><td>since {}</td><td>{}</td></tr>",
                Escaped(name),
                Escaped(since),
                Escaped(reason)
            ),
        );
    }
    *html += "</table>";
}

fn partitions(html: &mut String, partitions: &[PartitionStatus]) {
    if partitions.is_empty() {
        return;
    }
    *html += "<h2>Partitions</h2><table><tr><th>topic</th><th>partition</th><th>log start</th><th>log end</th>\
              <th>group</th><th>table</th><th>lag</th><th>lag, s</th><th>owner</th></tr>";
    for p in partitions {
        push(html, format_args!("<tr><td>{}</td><td class=\"n\">{}</td>", Escaped(&p.topic), p.partition));
        for offset in [p.log_start_offset, p.log_end_offset, p.group_offset, p.table_offset] {
            push(html, format_args!("<td class=\"n\">{}</td>", known(offset)));
        }
        let seconds = p.lag_seconds.map(|s| format!("{s:.1}"));
        push(html, format_args!("<td class=\"n\">{}</td><td class=\"n\">{}</td>", known(p.lag_records), known(seconds)));
        push(html, format_args!("<td>{}</td></tr>", Escaped(known(p.owner.as_deref()))));
    }
    *html += "</table>";
}

fn memory(html: &mut String, status: &Status) {
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / (1u64 << 20) as f64);
    push(
        html,
        format_args!(
            "<h2>Memory</h2><p>{} of {}</p><table>",
            known(status.memory.resident.map(mib)),
            mib(status.memory.memory_max)
        ),
    );
    for (part, bytes) in &status.memory.parts {
        push(html, format_args!("<tr><td>{}</td><td class=\"n\">{}</td></tr>", Escaped(part), mib(*bytes)));
    }
    *html += "</table>";
}

fn known<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

fn push(html: &mut String, text: std::fmt::Arguments<'_>) {
    html.write_fmt(text).expect("a String takes any text");
}
