//! The report's page: one file of HTML with the plots in it and nothing from elsewhere.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::super::Error;
use super::plot::Plot;

const STYLE: &str = "\
:root{color-scheme:light dark;--page:#eceff2;--figure:#ffffff;--text:#1c2128}\
@media(prefers-color-scheme:dark){:root{--page:#0d1014;--figure:#1b2027;--text:#d7dce2}}\
body{margin:0 auto;max-width:940px;padding:16px;background:var(--page);color:var(--text);font:16px/1.45 sans-serif}\
figure{margin:16px 0;padding:16px;background:var(--figure);overflow-x:auto}\
h2{margin:0 0 8px;font-size:19px}figcaption{font-size:14px}svg{max-width:100%;height:auto}\
pre{padding:16px;background:var(--figure);overflow-x:auto;font-size:12px;line-height:1.3}";

/// Writes the page and every plot's file into a folder, which is made where it is missing.
pub fn write(directory: &Path, setting: &Value, plots: &[Plot], table: &str) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error| Error::Io(path, error)
    };
    fs::create_dir_all(directory).map_err(failed(directory))?;
    for plot in plots {
        let path = directory.join(format!("{}.svg", plot.name));
        fs::write(&path, plot.file()?).map_err(failed(&path))?;
    }
    let path = directory.join("index.html");
    fs::write(&path, page(setting, plots, table)?).map_err(failed(&path))
}

fn page(setting: &Value, plots: &[Plot], table: &str) -> Result<String, Error> {
    let mut text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>pgprefork: connection models compared</title>\n<style>{STYLE}</style></head>\n<body>\n\
         <h1>Connection models compared</h1>\n"
    );
    for plot in plots {
        let _ = writeln!(
            text,
            "<figure id=\"{}\"><h2>{}</h2>\n{}<figcaption>{}</figcaption></figure>",
            plot.name,
            escaped(plot.title),
            plot.svg()?,
            escaped(&plot.caption)
        );
    }
    if !table.is_empty() {
        let _ = writeln!(text, "<h2>Figures</h2>\n<pre>{}</pre>", escaped(table));
    }
    let _ = writeln!(text, "<h2>Machine, versions, settings</h2>\n<pre>{}</pre>", escaped(&format!("{setting:#}")));
    text.push_str("</body></html>\n");
    Ok(text)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
