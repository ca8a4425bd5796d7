//! Windows of an interface as lines of JSON, written by a thread that may be slow:
//! `windows_to_json IF PREFIX…`, as root, until its reader goes: `… | head -n 3`

use std::{
    env,
    error::Error,
    io::{self, Write},
    thread,
    time::Duration,
};

use darknet_core::{
    Dark, Snapshot, Telescope,
    live::{Control, Event, Watch},
    parse_prefix,
    window::{WhenFull, Windows, channel},
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let interface = arguments.next().ok_or("windows_to_json IF PREFIX…")?;
    let prefixes = arguments.map(|text| parse_prefix(&text));
    let dark = Dark::new(&prefixes.collect::<Result<Vec<_>, _>>()?, &[])?;
    let telescope = Telescope::new()
        .with_dark(dark)
        .with_window(Duration::from_secs(5))?;

    // Eight windows may wait for the writer; what comes then is dropped, and counted.
    let (sink, windows) = channel(8, WhenFull::Drop);
    let writer = thread::spawn(|| write(windows));
    let control = Control::new();
    telescope.watch(&Watch::new(interface), &control, |event| {
        if let Event::Closed(window) = event
            && sink.send(window.snapshot(telescope.dark(), 10)).is_break()
        {
            control.stop();
        }
    })?;
    drop(sink);
    writer.join().expect("the writer does not panic")?;
    Ok(())
}

fn write(mut windows: Windows<Snapshot>) -> io::Result<()> {
    for snapshot in &mut windows {
        let line = serde_json::to_string(&snapshot)?;
        match writeln!(io::stdout(), "{line}") {
            Err(gone) if gone.kind() == io::ErrorKind::BrokenPipe => break,
            written => written?,
        }
    }
    eprintln!("{} windows were dropped", windows.dropped());
    Ok(())
}
