//! The report of `bench models` as a browser shows it: every plot has its points and its labels, and can be seen on a
//! light and on a dark page. What the figures are decides nothing here.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Plots in the order of the page, words that their axes have to show, and the least number of points.
const PLOTS: [(&str, [&str; 2], usize); 6] = [
    ("latency-distribution", ["time to ready (ms", "sessions ready (%)"], 3 * 101),
    ("latency-rate", ["offered rate (sessions/s", "99th percentile (ms"], 3 * 3),
    ("throughput-clients", ["clients", "throughput (sessions/s)"], 3 * 4),
    ("memory-idle", ["idle sessions", "memory (MB)"], 3 * 3),
    ("burst-spare", ["time (s)", "spare workers"], 3 * 20),
    ("time-to-ready", ["time to ready (us)", "model"], 3 * 4),
];
const MODELS: [&str; 3] = ["fork-on-accept", "prefork", "prefork, reuse"];
const WIDTH: u32 = 1000;
const HEIGHT: u32 = 4000;
/// For a browser on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the browser on a file until it ends by itself; what it prints.
fn browse(profile: &Path, file: &Path, arguments: &[String]) -> String {
    let out = profile.with_extension("out");
    let mut child = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--window-size={WIDTH},{HEIGHT}"))
        .args(arguments)
        .arg(format!("file://{}", file.display()))
        .stdin(Stdio::null())
        .stdout(fs::File::create(&out).expect("a file"))
        .stderr(Stdio::null())
        .spawn()
        .expect("chromium is installed (on Debian: apt-get install chromium; tests/run does it)");
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("our child") {
            assert!(status.success(), "chromium: {status}");
            return fs::read_to_string(out).expect("text");
        }
        if began.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            panic!("chromium has not ended within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The part of a text between `from` and the next `to`.
#[track_caller]
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let start = text.find(from).unwrap_or_else(|| panic!("no {from} in {text}"));
    let rest = &text[start + from.len()..];
    &rest[..rest.find(to).unwrap_or_else(|| panic!("no {to} after {from}"))]
}

/// Points of the lines in a colour of a series, or rectangles in one: the frame is drawn in that of the text.
fn points(figure: &str) -> usize {
    let coloured = |element: &&str| !element.contains("currentColor") && !element.contains("#808080");
    let lines = figure.split("<polyline").skip(1).map(|rest| rest.split('>').next().unwrap_or_default());
    let on_lines: usize =
        lines.filter(coloured).map(|line| between(line, "points=\"", "\"").split(',').count().saturating_sub(1)).sum();
    let bars = figure.split("<rect").skip(1).map(|rest| rest.split('>').next().unwrap_or_default());
    if on_lines > 0 { on_lines } else { bars.filter(coloured).count() }
}

type Pixel = [u8; 3];

fn pixels(path: &Path) -> Vec<Vec<Pixel>> {
    let file = std::io::BufReader::new(fs::File::open(path).expect("the screenshot"));
    let mut reader = png::Decoder::new(file).read_info().expect("PNG");
    let mut bytes = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut bytes).expect("an image");
    assert_eq!((info.width, info.height, info.bit_depth), (WIDTH, HEIGHT, png::BitDepth::Eight));
    let samples = info.color_type.samples();
    assert!(samples >= 3, "a colour image");
    let row = |line: &[u8]| line.chunks_exact(samples).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
    bytes.chunks_exact(info.line_size).take(HEIGHT as usize).map(row).collect()
}

/// How bright, as far as the eye goes.
fn brightness(pixel: Pixel) -> f64 {
    0.2126 * f64::from(pixel[0]) + 0.7152 * f64::from(pixel[1]) + 0.0722 * f64::from(pixel[2])
}

/// Rows of the image where a figure's background begins and ends, left of what is drawn on it.
fn figures(image: &[Vec<Pixel>], background: Pixel) -> Vec<std::ops::Range<usize>> {
    let left = image[200]
        .iter()
        .position(|pixel| *pixel == background)
        .or_else(|| image.iter().find_map(|row| row.iter().position(|pixel| *pixel == background)));
    let column = left.expect("a figure") + 3;
    let mut found: Vec<std::ops::Range<usize>> = Vec::new();
    for (y, row) in image.iter().enumerate().filter(|(_, row)| row[column] == background) {
        debug_assert!(!row.is_empty());
        match found.last_mut() {
            Some(last) if last.end == y => last.end = y + 1,
            _ => found.push(y..y + 1),
        }
    }
    found
}

/// Every plot can be seen: its words stand out from the background, and every series' colour is there.
fn assert_visible(image: &[Vec<Pixel>], background: Pixel, scheme: &str) {
    let found = figures(image, background);
    assert!(found.len() >= PLOTS.len(), "{scheme}: {found:?}");
    for ((name, ..), rows) in PLOTS.iter().zip(found) {
        assert!(rows.len() > 300, "{scheme}: {name} is {} pixels high", rows.len());
        let all = || image[rows.clone()].iter().flatten();
        let stands_out = |pixel: &&Pixel| (brightness(**pixel) - brightness(background)).abs() > 150.0;
        let words = all().filter(stands_out).count();
        assert!(words > 1000, "{scheme}: only {words} pixels of {name} stand out from its background");
        for colour in [[0xDB, 0x5F, 0x1D], [0x2B, 0x86, 0xD9], [0x1D, 0xA0, 0x6E]] {
            // The legend alone has 180 in a colour.
            let count = all().filter(|pixel| **pixel == colour).count();
            assert!(count > 230, "{scheme}: {name} has {count} pixels in colour {colour:?}");
        }
    }
}

#[test]
fn every_plot_of_the_report_is_there_in_light_and_in_dark() {
    for program in ["pgbench", "psql"] {
        support::postgres_program(program);
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let report = directory.path().join("report");
    let output = Command::new(env!("CARGO_BIN_EXE_pgprefork"))
        .args(["bench", "models", "--quick", "--only", "plots", "--report"])
        .arg(&report)
        .env("TMPDIR", directory.path())
        .stdin(Stdio::null())
        .output()
        .expect("the program");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");

    let page = report.join("index.html");
    let text = fs::read_to_string(&page).expect("the page");
    let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
    assert!(!elsewhere.contains("http") && !elsewhere.contains("src=") && !elsewhere.contains("url("), "{text}");
    let profile = directory.path().join("browser");
    let dom = browse(&profile, &page, &["--dump-dom".to_owned()]);
    for (name, labels, least) in PLOTS {
        let figure = between(&dom, &format!("<figure id=\"{name}\""), "</figure>");
        let count = points(figure);
        assert!(count >= least, "{name} has {count} points: {figure}");
        for word in labels.iter().chain(&MODELS) {
            let is_bars = name == "time-to-ready";
            assert!(figure.contains(word), "{name} (bars: {is_bars}) does not say {word}: {figure}");
        }
        let file = fs::read_to_string(report.join(format!("{name}.svg"))).expect("the plot's file");
        assert!(file.contains("prefers-color-scheme") && points(&file) == count, "{name}.svg: {file}");
    }
    for (scheme, setting, background) in [("light", 1, [0xff, 0xff, 0xff]), ("dark", 0, [0x1b, 0x20, 0x27])] {
        let image: PathBuf = directory.path().join(format!("{scheme}.png"));
        let arguments = [
            format!("--screenshot={}", image.display()),
            format!("--blink-settings=preferredColorScheme={setting}"),
            "--force-color-profile=srgb".to_owned(),
        ];
        browse(&profile, &page, &arguments);
        assert_visible(&pixels(&image), background, scheme);
    }
}
